#include "kernels/cuda/memory_pools.h"

#include <algorithm>
#include <bit>

#include "engine/core/bytes.h"
#include "engine/core/out_of_memory.h"

namespace spn::kernels::cuda {
namespace {

constexpr std::size_t kAlign = 512, kSmall = std::size_t{1} << 20, kSlab = std::size_t{16} << 20;

// Size classes: multiples of 1/8 of the next lower power of two. Waste is at most 12.5 %.
std::size_t class_of(std::size_t bytes) {
  const std::size_t least = std::max(bytes, kAlign), step = std::max(kAlign, std::bit_floor(least) / 8);
  return (least + step - 1) / step * step;
}

}  // namespace

void* Pools::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = plain_ ? std::max(bytes, std::size_t{1}) : class_of(bytes);
  void* p = nullptr;
  if (const auto cached = free_.find({pool_, size}); cached != free_.end() && !cached->second.empty()) {
    p = cached->second.back();
    cached->second.pop_back();
  } else {
    const bool whole = plain_ || size >= kSmall;
    p = whole ? from_system(size) : carve(size);
    blocks_[p] = {size, pool_, whole};
  }
  stats_.in_use += size;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  return p;
}

void Pools::give(void* p) noexcept {
  const std::lock_guard lock(mutex_);
  const auto it = blocks_.find(p);
  if (it == blocks_.end()) return;  // not ours: nothing sensible can be done in a destructor
  const Block block = it->second;
  stats_.in_use -= block.size;
  try {
    if (plain_) {
      system_.give(p);
      stats_.reserved -= block.size;
      blocks_.erase(it);
    } else {
      free_[{block.pool, block.size}].push_back(p);
    }
  } catch (...) {  // lost until the process ends: there is no host memory to remember it by, or no device
  }
}

void* Pools::carve(std::size_t size) {
  if (slab_left_ < size) {  // what is left of the old slab is given up: less than 1/16 of it
    slab_ = static_cast<std::byte*>(from_system(kSlab));
    slab_left_ = kSlab;
  }
  void* p = slab_;
  slab_ += size;
  slab_left_ -= size;
  return p;
}

void* Pools::from_system(std::size_t size) {
  void* p = system_.take(size);
  if (p == nullptr && drop_cached() > 0) p = system_.take(size);
  if (p == nullptr)
    throw OutOfMemory(
        "memory",
        fmt::format(
            "cannot allocate {} on the GPU: {} of the {} taken so far are in use, captured steps keep {}{}; use a "
            "smaller --micro-batch, --activation-checkpointing, --residency host or disk, or more ranks",
            mebibytes(size), mebibytes(stats_.in_use), mebibytes(stats_.reserved), mebibytes(captured()),
            system_.others ? ", " + system_.others() : ""));
  stats_.reserved += size;
  return p;
}

std::size_t Pools::captured() const {
  std::size_t bytes = 0;
  for (const auto& [p, block] : blocks_)
    if (block.pool != 0) bytes += block.size;
  return bytes;
}

void Pools::trim() {
  const std::lock_guard lock(mutex_);
  drop_cached();
}

std::size_t Pools::drop_cached() {
  if (pool_ != 0) return 0;  // giving back waits for the device, which a capture forbids
  std::size_t dropped = 0;
  for (auto& [key, cached] : free_) {
    if (key.first != 0) continue;  // a graph writes its blocks again
    std::erase_if(cached, [&](void* p) {
      const auto it = blocks_.find(p);
      if (!it->second.whole) return false;
      system_.give(p);
      dropped += it->second.size;
      blocks_.erase(it);
      return true;
    });
  }
  stats_.reserved -= dropped;
  return dropped;
}

MemoryStats Pools::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Pools::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.in_use;
}

void Pools::begin_pool() {
  const std::lock_guard lock(mutex_);
  check(!plain_, "memory", "a capture keeps blocks, which plain memory does not");
  check(pool_ == 0, "memory", "a capture begins inside another");
  pool_ = ++pools_;
}

int Pools::end_pool() {
  const std::lock_guard lock(mutex_);
  return std::exchange(pool_, 0);
}

void Pools::drop_pool(int pool) noexcept {
  const std::lock_guard lock(mutex_);
  for (auto& [p, block] : blocks_)
    if (block.pool == pool) block.pool = 0;
  try {
    for (auto it = free_.begin(); it != free_.end();)
      if (it->first.first == pool) {
        auto& common = free_[{0, it->first.second}];
        common.insert(common.end(), it->second.begin(), it->second.end());
        it = free_.erase(it);
      } else {
        ++it;
      }
  } catch (...) {  // as in give
  }
}

}  // namespace spn::kernels::cuda
