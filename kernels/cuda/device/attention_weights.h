// Weights of long attention: a row's softmax of scaled products, beside the library's two products.
#pragma once

#include <limits>

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

inline constexpr int kHeldKeys = 8;  // a lane's, in registers: 256 keys a warp

// Row r of s [rows, row] holds q·k of tk keys; p gets softmax(scale · s), lse the logsumexp of query r % tq of sample
// r / tq, samples `lse_sample` apart. A warp a row; p may be s.
template <class T>
__global__ void attention_weights(const float* s, T* p, float* lse, float scale, std::int64_t rows, std::int64_t tq,
                                  int tk, std::int64_t row, std::int64_t lse_sample) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  for (std::int64_t r = global_thread() / kWarp; r < rows; r += all_threads() / kWarp) {
    const float* from = s + r * row;
    T* to = p + r * row;
    float e[kHeldKeys];
    float most = kNone;
#pragma unroll
    for (int k = 0; k < kHeldKeys; ++k) {
      const int j = lane + k * kWarp;
      e[k] = j < tk ? from[j] * scale : kNone;
      most = Max{}(most, e[k]);
    }
    for (int j = lane + kHeldKeys * kWarp; j < tk; j += kWarp) most = Max{}(most, from[j] * scale);
    most = warp_reduce(most, Max{});
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kHeldKeys; ++k) {
      e[k] = std::exp(e[k] - most);
      sum += e[k];
    }
    for (int j = lane + kHeldKeys * kWarp; j < tk; j += kWarp) sum += std::exp(from[j] * scale - most);
    sum = warp_reduce(sum, Sum{});
    const float inverse = 1.0F / sum;
#pragma unroll
    for (int k = 0; k < kHeldKeys; ++k) {
      const int j = lane + k * kWarp;
      if (j < tk) to[j] = convert<T>(e[k] * inverse);
    }
    for (int j = lane + kHeldKeys * kWarp; j < tk; j += kWarp)
      to[j] = convert<T>(std::exp(from[j] * scale - most) * inverse);
    if (lane == 0) lse[r / tq * lse_sample + r % tq] = most + std::log(sum);
  }
}

}  // namespace spn::kernels::cuda
