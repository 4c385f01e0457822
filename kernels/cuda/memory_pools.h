// Which block of device memory a tensor gets: freed blocks are kept by size class and handed out again, in stream
// order. A graph's captured step has a pool of its own, so that nobody else is given memory that a replay writes. The
// system below is a parameter: cudaMalloc on a GPU, plain memory in the tests.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/table.h"

namespace spn::kernels::cuda {

class Pools {
 public:
  struct System {
    std::function<void*(std::size_t)> take;  // null: no memory
    std::function<void(void*)> give;         // after what is queued has ended
    std::function<std::string()> others;     // who else holds the device's memory, for errors; may be absent
  };
  // plain: every block is the system's own and of the size that was asked for, and goes back at once, so that a tool
  // which watches the system's allocations sees an access past a tensor's end or after its life. There are no captures.
  explicit Pools(System system, bool plain = false) : system_(std::move(system)), plain_(plain) {}
  bool plain() const { return plain_; }

  // Throws OutOfMemory when there is none even after giving back all that is cached: what was asked, what holds the
  // rest.
  void* take(std::size_t bytes);
  void give(void* p) noexcept;
  MemoryStats stats();
  void reset_peak();

  // Gives back what the common pool holds for nobody.
  void trim();
  // From begin to end, take() serves the new pool, whose number end() returns; blocks given back go to the pool they
  // came from, whenever that is.
  void begin_pool();
  int end_pool();
  // Its blocks belong to the common pool (0) from now on.
  void drop_pool(int pool) noexcept;

 private:
  struct Block {
    std::size_t size = 0;
    int pool = 0;
    bool whole = false;  // the system's own allocation, not a part of a slab
  };
  std::size_t drop_cached();     // bytes given back to the system
  std::size_t captured() const;  // bytes that captured steps keep
  void* carve(std::size_t size);
  void* from_system(std::size_t size);

  System system_;
  const bool plain_;
  std::mutex mutex_;
  std::map<std::pair<int, std::size_t>, std::vector<void*>> free_;  // by pool and size
  std::unordered_map<void*, Block> blocks_;
  std::byte* slab_ = nullptr;  // small blocks are cut from slabs, which stay
  std::size_t slab_left_ = 0;
  MemoryStats stats_;
  int pool_ = 0, pools_ = 0;
};

}  // namespace spn::kernels::cuda
