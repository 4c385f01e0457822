// What is queued before work that is timed (kernels/timing.h).
#pragma once

#ifndef __CUDA_ARCH__
#include <chrono>
#endif

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

// Reads n times 16 bytes: they take the place of all else in the L2 cache and leave nothing there that is still to be
// written, as overwriting would. found: set where a bit is, so that no load may be left out.
__global__ inline void read_through(unsigned* found, const Pack<unsigned>* p, std::int64_t n) {
  unsigned all = 0;
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const Pack<unsigned> v = p[i];
    all |= v.v[0] | v.v[1] | v.v[2] | v.v[3];
  }
  if (all != 0) *found = 1;
}

// Nanoseconds of a clock that goes on; on a GPU in steps of a microsecond or so.
__device__ inline std::uint64_t clock_nanoseconds() {
#ifdef __CUDA_ARCH__
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
#endif
}

// Keeps the stream busy while the host queues what comes next. One thread.
__global__ inline void hold(std::uint64_t nanoseconds) {
  const std::uint64_t start = clock_nanoseconds();
  while (clock_nanoseconds() - start < nanoseconds) {
#ifdef __CUDA_ARCH__
    __nanosleep(1000);
#endif
  }
}

}  // namespace spn::kernels::cuda
