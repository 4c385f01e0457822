// The table of kernels: nothing is missing on the CPU or where work is counted, and what goes wrong is said.
#include "kernels/table.h"

#include <gtest/gtest.h>

#include "engine/tensor/tensor.h"

namespace spn::kernels {
namespace {

// The table is function pointers and nothing else, so it can be read as an array of them.
void expect_every_entry(const Table& table) {
  using Entry = void (*)();
  static_assert(sizeof(Table) % sizeof(Entry) == 0);
  const auto* entries = reinterpret_cast<const Entry*>(&table);
  for (std::size_t i = 0; i < sizeof(Table) / sizeof(Entry); ++i)
    EXPECT_NE(entries[i], nullptr) << "entry " << i << " in the order of kernels/table.h";
}

TEST(CpuTable, HasEveryEntry) { expect_every_entry(cpu_table()); }
TEST(MetaTable, HasEveryEntry) { expect_every_entry(meta_table()); }

template <class F>
void refuses(F&& f, std::initializer_list<const char*> words) {
  try {
    f();
    ADD_FAILURE() << "expected a refusal";
  } catch (const Error& e) {
    for (const char* w : words) EXPECT_NE(std::string(e.what()).find(w), std::string::npos) << w << " in: " << e.what();
  }
}

TEST(Run, RefusesMixedDevicesAndAnAbsentBackend) {
  const Tensor x = Tensor::zeros({3});
  View elsewhere = x;
  elsewhere.device = {DeviceType::cuda, 1};
  refuses([&] { run<&Table::affine>({.x = x, .y = elsewhere}); }, {"affine", "cpu", "cuda:1", "Tensor::to"});
  if (cuda_table() == nullptr)
    refuses([&] { run<&Table::affine>({.x = elsewhere, .y = elsewhere}); }, {"no CUDA backend", "--device cpu"});
}

TEST(Run, WithoutAnyViewDoesNothing) { run<&Table::affine>({}); }

TEST(Run, RefusesIntegersWhereNumbersAreMeant) {
  const Tensor x = Tensor::zeros({3}, DType::i64);
  refuses([&] { run<&Table::affine>({.x = x, .y = x}); }, {"[affine]", "floating", "i64"});
}

}  // namespace
}  // namespace spn::kernels
