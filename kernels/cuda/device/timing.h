// What is queued before work that is timed (kernels/timing.h).
#pragma once

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

// Keeps the stream busy while the host queues what comes next. One thread.
__global__ inline void hold([[maybe_unused]] std::uint64_t nanoseconds) {
#ifdef __CUDA_ARCH__
  std::uint64_t start = 0, now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
  do {
    __nanosleep(1000);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - start < nanoseconds);
#endif
}

}  // namespace spn::kernels::cuda
