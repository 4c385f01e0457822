// CUDA's language on the host, as far as our kernels use it: a block's threads are fibers, run one after another
// between barriers (emulator.h). Only the emulated build has this file on its path.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "tests/support/emulator/emulator.h"

// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses): the names are CUDA's, a type takes no
// parentheses
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (::spn::emulator::thread_index())
#define blockIdx (::spn::emulator::block_index())
#define blockDim (::spn::emulator::block_shape())
#define gridDim (::spn::emulator::grid_shape())

// Shared memory is the same for all threads of a block and holds NaNs when the block starts. Each place has its own;
// the file name keeps two headers' equal lines apart.
#define SPN_SHARED(T, name, n) \
  T* const name = static_cast<T*>(::spn::emulator::shared(__FILE__, __LINE__, sizeof(T) * (n)))
#define SPN_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::spn::emulator::dynamic_shared())

using dim3 = spn::emulator::Dim3;

inline void __syncthreads() { spn::emulator::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffU) { spn::emulator::exchange(mask, nullptr, 0); }

template <class T>
T __shfl_sync(unsigned mask, T v, int lane) {
  static_assert(sizeof(T) <= 8);
  const auto& slots = spn::emulator::exchange(mask, &v, sizeof v);
  return spn::emulator::from_lane<T>(slots, lane & 31);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int distance) {
  return __shfl_sync(mask, v, spn::emulator::lane() ^ distance);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, int distance) {
  const int from = spn::emulator::lane() + distance;
  return __shfl_sync(mask, v, from < 32 ? from : spn::emulator::lane());
}
inline unsigned __ballot_sync(unsigned mask, bool p) {
  const int mine = p ? 1 : 0;
  const auto& slots = spn::emulator::exchange(mask, &mine, sizeof mine);
  unsigned votes = 0;
  for (int l = 0; l < 32; ++l)
    if ((mask >> l & 1U) != 0 && spn::emulator::from_lane<int>(slots, l) != 0) votes |= 1U << l;
  return votes;
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline bool __any_sync(unsigned mask, bool p) { return __ballot_sync(mask, p) != 0; }
inline bool __all_sync(unsigned mask, bool p) { return __ballot_sync(mask, p) == mask; }

// Blocks and threads run one at a time, so that plain code is atomic.
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  const T old = *p;
  *p = old + v;
  return old;
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  const T old = *p;
  *p = old > v ? old : v;
  return old;
}
inline void __threadfence() {}
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)

namespace spn::kernels::cuda {

// kernels/cuda/launch.h's launch on the host.
template <class S, class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, S /*stream*/, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument a parameter");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  spn::emulator::queue([=, ... copies = static_cast<P>(args)] {
    (spn::emulator::touch(&copies, sizeof copies), ...);  // NOLINT(bugprone-sizeof-expression): pointers are arguments
    const std::array<spn::emulator::Argument, sizeof...(P)> arguments{
        spn::emulator::Argument{&copies, sizeof copies}...};  // NOLINT(bugprone-sizeof-expression)
    if (!spn::emulator::run_from_ptx(reinterpret_cast<const void*>(kernel), grid, block, shared, arguments))
      spn::emulator::run_grid(grid, block, shared, [&] { kernel(copies...); });
  });
}

}  // namespace spn::kernels::cuda
