// Weights of long attention and their gradients: a row's softmax of scaled products, beside the library's products.
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

// The same rows again: s holds q·k, d (null: not wanted) the gradient of the weights, dO·v. p (null: not wanted) gets
// the weights, ds the gradient of q·k. p may be s, and ds may be d. A warp a row.
template <class T>
__global__ void attention_weights_bwd(const float* s, const float* d, T* p, T* ds, const float* lse, float scale,
                                      std::int64_t rows, std::int64_t tq, int tk, std::int64_t row,
                                      std::int64_t lse_sample) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t r = global_thread() / kWarp; r < rows; r += all_threads() / kWarp) {
    const float *logits = s + r * row, *grads = d == nullptr ? nullptr : d + r * row;
    const float top = lse[r / tq * lse_sample + r % tq];
    float e[kHeldKeys], g[kHeldKeys];
    float dot = 0;
#pragma unroll
    for (int k = 0; k < kHeldKeys; ++k) {
      const int j = lane + k * kWarp;
      e[k] = j < tk ? std::exp(logits[j] * scale - top) : 0.0F;
      g[k] = j < tk && grads != nullptr ? grads[j] : 0.0F;
      dot += e[k] * g[k];
    }
    if (grads != nullptr)
      for (int j = lane + kHeldKeys * kWarp; j < tk; j += kWarp) dot += std::exp(logits[j] * scale - top) * grads[j];
    dot = warp_reduce(dot, Sum{});
    const auto put = [&](int j, float weight, float grad) {
      if (p != nullptr) p[r * row + j] = convert<T>(weight);
      if (grads != nullptr) ds[r * row + j] = convert<T>(weight * (grad - dot) * scale);
    };
#pragma unroll
    for (int k = 0; k < kHeldKeys; ++k)
      if (const int j = lane + k * kWarp; j < tk) put(j, e[k], g[k]);
    for (int j = lane + kHeldKeys * kWarp; j < tk; j += kWarp)
      put(j, std::exp(logits[j] * scale - top), grads == nullptr ? 0.0F : grads[j]);
  }
}

}  // namespace spn::kernels::cuda
