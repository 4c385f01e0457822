// The emulated device: memory with guard pages, a few multiprocessors, and a launch that runs the kernel at once.
#include "kernels/cuda/context.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "kernels/cuda/kernels.h"
#include "tests/support/emulator/guarded.h"

namespace spn::kernels::cuda {
namespace {

struct Memory {
  std::unordered_map<void*, std::unique_ptr<emulator::Guarded>> blocks;
  MemoryStats stats;
};
Memory& device() {
  static Memory* m = new Memory;  // tensors of static duration may go after it
  return *m;
}

}  // namespace

Stream stream() { return nullptr; }
int multiprocessors() { return 3; }  // few, so that grids stride

void* scratch(Scratch user, std::size_t bytes) {
  static std::array<std::unique_ptr<emulator::Guarded>, static_cast<std::size_t>(Scratch::count)> held;
  auto& mine = held[static_cast<std::size_t>(user)];
  check(!mine || mine->edges_intact(), "emulator", "a kernel wrote outside its scratch memory");
  mine = std::make_unique<emulator::Guarded>(bytes);
  return mine->data();
}

void* alloc(std::size_t bytes) {
  auto block = std::make_unique<emulator::Guarded>(bytes);
  void* p = block->data();
  device().blocks.emplace(p, std::move(block));
  device().stats.in_use += bytes;
  device().stats.peak = std::max(device().stats.peak, device().stats.in_use);
  return p;
}
void release(void* p, std::size_t bytes) noexcept {
  const auto it = device().blocks.find(p);
  if (it == device().blocks.end() || it->second->size() != bytes || !it->second->edges_intact()) {
    std::fputs("emulator: memory was written outside an allocation, or released with another size\n", stderr);
    std::abort();
  }
  device().stats.in_use -= bytes;
  device().blocks.erase(it);
}
void transfer(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
void sync() {}
MemoryStats memory() { return device().stats; }
void reset_peak() { device().stats.peak = device().stats.in_use; }

}  // namespace spn::kernels::cuda

namespace spn::kernels {
int cuda_device_count() { return 1; }
}  // namespace spn::kernels
