// Dropout: one Philox block gives the words of four neighbours of a sample.
#pragma once

#include "kernels/cuda/device/rows.h"
#include "kernels/cuda/device/strided.h"
#include "kernels/math/dropout.h"

namespace spn::kernels::cuda {

// What is the same for all elements, worked out on the host but for what the clock adds.
template <class C>
struct Mask {
  DropoutKey key;
  std::uint32_t threshold;
  C scale;

  // factor[k] of element 4 · block + k of a row.
  __device__ void factors(std::int64_t row, std::int64_t block, C* factor) const {
    const Philox4 bits =
        philox(key.seed, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(sample_of(key, row)), key.layer,
               dropout_step_word(step_of(key)));
#pragma unroll
    for (int k = 0; k < 4; ++k) factor[k] = (bits.v[k] >> 8) >= threshold ? scale : C(0);
  }
};

// Rows of `per_row` groups of V elements, all groups 16-byte aligned.
template <class T, int V>
__global__ void dropout_packs(const T* x, T* y, Mask<compute_t<T>> mask, std::int64_t groups, std::int64_t per_row) {
  static_assert(V % 4 == 0);
  for (std::int64_t g = global_thread(); g < groups; g += all_threads()) {
    std::int64_t row = g;
    const std::int64_t first = split(row, per_row) * (V / 4);
    compute_t<T> e[V], factor[V];
    load_some<V>(x + g * V, e);
#pragma unroll
    for (int b = 0; b < V / 4; ++b) mask.factors(row, first + b, factor + 4 * b);
#pragma unroll
    for (int k = 0; k < V; ++k) e[k] *= factor[k];
    store_some<V>(y + g * V, e);
  }
}

// Rows of any length.
template <class T>
__global__ void dropout_any(const T* x, T* y, Mask<compute_t<T>> mask, std::int64_t rows, std::int64_t length) {
  const std::int64_t per_row = (length + 3) / 4;
  for (std::int64_t g = global_thread(); g < rows * per_row; g += all_threads()) {
    std::int64_t row = g;
    const std::int64_t block = split(row, per_row);
    compute_t<T> factor[4];
    mask.factors(row, block, factor);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::int64_t e = block * 4 + k;
      if (e < length) y[row * length + e] = convert<T>(load(x[row * length + e]) * factor[k]);
    }
  }
}

}  // namespace spn::kernels::cuda
