// The one way a kernel is launched: typed arguments, limits and errors checked, dynamic shared memory above 48 KiB
// asked for. Tests have a launch of their own beside this one (tests/support/emulator), which runs the same kernels on
// the host.
#pragma once

#include "kernels/cuda/context.h"
#include "kernels/cuda/device/base.h"

#ifdef __CUDACC__
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {

// shared: bytes of dynamic shared memory. An empty grid launches nothing.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, Stream stream, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument a parameter");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > 48 * 1024)
    expect(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(shared)),
           "launch");
  kernel<<<grid, block, shared, stream>>>(static_cast<P>(args)...);
  expect(cudaGetLastError(), "launch");
}

}  // namespace spn::kernels::cuda
#endif

namespace spn::kernels::cuda {

inline constexpr int kBlock = 256;

// Blocks of `block` threads for n items, at most `waves` times what the device runs at once: kernels stride over the
// rest.
inline dim3 grid_for(std::int64_t n, int block = kBlock, int waves = 8) {
  const std::int64_t blocks = (n + block - 1) / block;
  const std::int64_t most = static_cast<std::int64_t>(multiprocessors()) * waves;
  return dim3(static_cast<unsigned>(blocks < most ? blocks : most));
}

}  // namespace spn::kernels::cuda
