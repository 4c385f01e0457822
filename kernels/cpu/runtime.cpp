// Host memory for tensors: a caching allocator. Freed blocks are kept by size class and handed out again, so that a
// training step, whose tensors have the same sizes every time, touches no fresh pages after the first (first-touch page
// faults cost more than most kernels here).
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/cpu/kernels.h"

namespace spn::kernels::cpu {
namespace {

constexpr std::size_t kAlign = 64;

// Size classes: multiples of 1/8 of the next lower power of two, at least kAlign. Waste is at most 12.5 %.
std::size_t class_of(std::size_t bytes) {
  if (bytes <= 512) return std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

// Large blocks ask for 2 MiB pages: activations of tens of MB, walked at many strides, otherwise miss the TLB.
void* take_pages(std::size_t size) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  if (size < 2 * kHuge) return std::aligned_alloc(kAlign, size);
  void* p = nullptr;
  if (posix_memalign(&p, kHuge, size) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // Whole pages only, so that no memory beyond the block is touched; it is advice, a system may say no.
  madvise(p, size / kHuge * kHuge, MADV_HUGEPAGE);
#endif
  return p;
}

class Cache {
 public:
  void* take(std::size_t bytes) {
    const std::size_t size = class_of(bytes);
    const std::lock_guard lock(mutex_);
    stats_.in_use += size;
    stats_.peak = std::max(stats_.peak, stats_.in_use);
    if (auto it = free_.find(size); it != free_.end() && !it->second.empty()) {
      void* p = it->second.back();
      it->second.pop_back();
      return p;
    }
    void* p = take_pages(size);
    if (p == nullptr) {
      drop_cached();
      p = take_pages(size);
    }
    if (p == nullptr) {
      stats_.in_use -= size;
      fail("memory", "cannot allocate {} bytes ({} in use by tensors); use a smaller --micro-batch or more ranks", size,
           stats_.in_use);
    }
    stats_.reserved += size;
    return p;
  }
  void give(void* p, std::size_t bytes) noexcept {
    const std::size_t size = class_of(bytes);
    const std::lock_guard lock(mutex_);
    stats_.in_use -= size;
    try {
      free_[size].push_back(p);
    } catch (...) {  // no memory to remember it by
      std::free(p);
      stats_.reserved -= size;
    }
  }
  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use;
  }
  ~Cache() { drop_cached(); }

 private:
  void drop_cached() {
    for (auto& [size, blocks] : free_) {
      for (void* p : blocks) std::free(p);
      stats_.reserved -= size * blocks.size();
      blocks.clear();
    }
  }
  std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> free_;
  MemoryStats stats_;
};

Cache& cache() {
  static Cache instance;
  return instance;
}

}  // namespace

void* alloc(std::size_t bytes) { return cache().take(bytes); }
void release(void* p, std::size_t bytes) noexcept { cache().give(p, bytes); }
void transfer(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
void sync() {}
MemoryStats memory() { return cache().stats(); }
void reset_peak() { cache().reset_peak(); }

}  // namespace spn::kernels::cpu
