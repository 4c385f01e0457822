// Walks several views of one shape: extents and strides, coalesced on the host, passed by value.
#pragma once

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

// i mod n, leaving i / n in i. In 32 bits where it suffices: that is several times faster.
__device__ inline std::int64_t split(std::int64_t& i, std::int64_t n) {
  if (((i | n) >> 31) == 0) {
    const auto small = static_cast<std::uint32_t>(i), e = static_cast<std::uint32_t>(n);
    i = small / e;
    return small % e;
  }
  const std::int64_t rest = i % n;
  i /= n;
  return rest;
}

template <int N>
struct Strided {
  static constexpr int kDims = 6;
  int dims = 0;
  std::int64_t numel = 0;
  std::int64_t extent[kDims] = {};
  std::int64_t stride[N][kDims] = {};

  // Offsets of element i of each view. Division in 32 bits where it suffices: it is several times faster. Not unrolled:
  // dims are few, and unrolled divisions were most of the code and of its compilation.
  __device__ void offsets(std::int64_t i, std::int64_t (&at)[N]) const {
    for (int v = 0; v < N; ++v) at[v] = 0;
#pragma unroll 1
    for (int d = dims - 1; d > 0; --d) {
      std::int64_t index;
      if (numel <= 0x7fffffff) {
        const auto small = static_cast<std::uint32_t>(i), e = static_cast<std::uint32_t>(extent[d]);
        index = small % e;
        i = small / e;
      } else {
        index = i % extent[d];
        i /= extent[d];
      }
      for (int v = 0; v < N; ++v) at[v] += index * stride[v][d];
    }
    if (dims > 0)
      for (int v = 0; v < N; ++v) at[v] += i * stride[v][0];
  }
};

}  // namespace spn::kernels::cuda
