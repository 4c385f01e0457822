// Loops over OpenMP threads: static and contiguous shares, so that results do not change from run to run at a fixed
// number of threads; small problems stay on the calling thread.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "engine/core/function_ref.h"

namespace spn::kernels::cpu {

// About the work (in element operations of a few instructions) that pays for waking the other threads.
inline constexpr std::int64_t kParallelGrain = 32768;

// Either one thread or all: libgomp would end and start threads if the number changed from loop to loop.
inline int threads_for(std::int64_t items, std::int64_t cost) {
  if (items < 2 || items * cost < kParallelGrain || omp_in_parallel()) return 1;
  return omp_get_max_threads();
}

// f(begin, end) over shares of [0, n); cost: element operations an item. f must not throw. It is called once a share,
// so that being called by address costs nothing.
inline void parallel_for(std::int64_t n, std::int64_t cost, FunctionRef<void(std::int64_t, std::int64_t)> f) {
  if (n <= 0) return;
  const int threads = threads_for(n, cost);
  if (threads == 1) {
    f(std::int64_t{0}, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t t = omp_get_thread_num(), of = omp_get_num_threads();
    const std::int64_t begin = n * t / of, end = n * (t + 1) / of;
    if (begin < end) f(begin, end);
  }
}

// As parallel_for with f(part, begin, end): part < parts counts the shares, for partial sums that are then added up in
// order. `parts` from threads_for.
inline void parallel_parts(int parts, std::int64_t n, FunctionRef<void(int, std::int64_t, std::int64_t)> f) {
  if (parts <= 1) {
    f(0, std::int64_t{0}, n);
    return;
  }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int p = 0; p < parts; ++p) f(p, n * p / parts, n * (p + 1) / parts);
}

}  // namespace spn::kernels::cpu
