// The table of kernels: nothing is missing on the CPU or where work is counted, and what goes wrong is said.
#include "kernels/table.h"

#include <gtest/gtest.h>

#include "engine/tensor/tensor.h"

namespace spn::kernels {
namespace {

using Entry = void (*)();

// What a device that computes beside the host offers, and the host does not.
std::size_t beside_the_host(const Table& t) {
  std::size_t n = 0;
  for (const bool there :
       {t.upload != nullptr, t.await_uploads != nullptr, t.uploads_follow != nullptr, t.download != nullptr,
        t.collect != nullptr, t.native_stream != nullptr, t.capture_begin != nullptr, t.capture_end != nullptr,
        t.replay != nullptr, t.drop_graph != nullptr})
    n += there ? 1 : 0;
  return n;
}

// The table is function pointers and nothing else, so it can be read as an array of them.
std::size_t entries(const Table& table) {
  static_assert(sizeof(Table) % sizeof(Entry) == 0);
  const auto* all = reinterpret_cast<const Entry*>(&table);
  std::size_t n = 0;
  for (std::size_t i = 0; i < sizeof(Table) / sizeof(Entry); ++i) n += all[i] != nullptr ? 1 : 0;
  return n;
}
constexpr std::size_t kBeside = 10, kEvery = sizeof(Table) / sizeof(Entry);

void expect_every_entry(const Table& table) {
  EXPECT_EQ(beside_the_host(table), 0U);
  EXPECT_EQ(entries(table), kEvery - kBeside) << "an entry of kernels/table.h is missing";
}

TEST(CpuTable, HasEveryEntry) { expect_every_entry(cpu_table()); }
TEST(MetaTable, HasEveryEntry) { expect_every_entry(meta_table()); }
TEST(CudaTable, HasEveryEntryWhereItIsBuilt) {
  if (cuda_table() == nullptr) GTEST_SKIP() << "this build has no CUDA backend (test_cuda_emulated looks at its table)";
  EXPECT_EQ(entries(*cuda_table()), kEvery);
}

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
