// Pooling over channels-last images. Forward: a thread has V channels of one output cell; backward: of one input, and
// adds what the cells over it give, in order, so that nothing is written twice.
#pragma once

#include <limits>

#include "kernels/args/pool.h"
#include "kernels/cuda/device/rows.h"
#include "kernels/cuda/device/strided.h"

namespace spn::kernels::cuda {

struct PoolShape {
  PoolKind kind;
  int kernel, stride, pad;
  std::int64_t n, c, h, w, oh, ow;
};

// Inputs [from, to) of output cell o along one dim, and what an average divides by along it.
struct PoolWindow {
  std::int64_t from, to, size;
};
__device__ inline PoolWindow pool_window(const PoolShape& s, std::int64_t cell, std::int64_t in, std::int64_t out) {
  if (s.kind == PoolKind::adaptive_average) {
    const std::int64_t from = cell * in / out, to = ((cell + 1) * in + out - 1) / out;
    return {from, to, to - from};
  }
  const std::int64_t start = cell * s.stride - s.pad, end = start + s.kernel;
  // padding counts as far as it reaches: PyTorch clips a window at in + pad
  return {start > 0 ? start : 0, end < in ? end : in, (end < in + s.pad ? end : in + s.pad) - start};
}
// Cells [from, to) whose windows hold input i.
__device__ inline void pool_cells(const PoolShape& s, std::int64_t i, std::int64_t in, std::int64_t out,
                                  std::int64_t& from, std::int64_t& to) {
  if (s.kind == PoolKind::adaptive_average) {
    from = i * out / in;
    to = ((i + 1) * out + in - 1) / in;
    return;
  }
  const std::int64_t last = i + s.pad, first = last - s.kernel + 1;  // of where windows over i may start
  from = first > 0 ? (first + s.stride - 1) / s.stride : 0;
  to = last / s.stride + 1;
  to = to < out ? to : out;
}

template <class T, int V>
__global__ void pool_fwd_cells(const T* x, T* y, std::int32_t* index, PoolShape s) {
  using C = compute_t<T>;
  const std::int64_t packs = s.c / V, all = s.n * s.oh * s.ow * packs;
  for (std::int64_t g = global_thread(); g < all; g += all_threads()) {
    std::int64_t rest = g;
    const std::int64_t c = split(rest, packs) * V, j = split(rest, s.ow), i = split(rest, s.oh);
    const PoolWindow rows = pool_window(s, i, s.h, s.oh), cols = pool_window(s, j, s.w, s.ow);
    const T* image = x + rest * s.h * s.w * s.c + c;
    C e[V], best[V];
    if (s.kind == PoolKind::max) {
      std::int32_t where[V];
#pragma unroll
      for (int k = 0; k < V; ++k) {
        best[k] = -std::numeric_limits<C>::infinity();
        where[k] = static_cast<std::int32_t>(rows.from * s.w + cols.from);
      }
      for (std::int64_t h = rows.from; h < rows.to; ++h)
        for (std::int64_t w = cols.from; w < cols.to; ++w) {
          const std::int64_t position = h * s.w + w;
          load_some<V>(image + position * s.c, e);
#pragma unroll
          for (int k = 0; k < V; ++k) {
            const bool take = e[k] > best[k] || e[k] != e[k];  // a NaN wins, as in PyTorch
            best[k] = take ? e[k] : best[k];
            where[k] = take ? static_cast<std::int32_t>(position) : where[k];
          }
        }
      store_some<V>(y + g * V, best);
#pragma unroll
      for (int k = 0; k < V; ++k) index[g * V + k] = where[k];
    } else {
      double sum[V];
#pragma unroll
      for (int k = 0; k < V; ++k) sum[k] = 0;
      for (std::int64_t h = rows.from; h < rows.to; ++h)
        for (std::int64_t w = cols.from; w < cols.to; ++w) {
          load_some<V>(image + (h * s.w + w) * s.c, e);
#pragma unroll
          for (int k = 0; k < V; ++k) sum[k] += static_cast<double>(e[k]);
        }
      const double divisor = static_cast<double>(rows.size * cols.size);
#pragma unroll
      for (int k = 0; k < V; ++k) best[k] = static_cast<C>(sum[k] / divisor);
      store_some<V>(y + g * V, best);
    }
  }
}

template <class T, int V>
__global__ void pool_bwd_inputs(const T* dy, const std::int32_t* index, T* dx, PoolShape s) {
  using C = compute_t<T>;
  const std::int64_t packs = s.c / V, all = s.n * s.h * s.w * packs;
  for (std::int64_t g = global_thread(); g < all; g += all_threads()) {
    std::int64_t rest = g;
    const std::int64_t c = split(rest, packs) * V, w = split(rest, s.w), h = split(rest, s.h);
    const auto position = static_cast<std::int32_t>(h * s.w + w);
    std::int64_t i_from, i_to, j_from, j_to;
    pool_cells(s, h, s.h, s.oh, i_from, i_to);
    pool_cells(s, w, s.w, s.ow, j_from, j_to);
    C sum[V], d[V];
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] = 0;
    for (std::int64_t i = i_from; i < i_to; ++i)
      for (std::int64_t j = j_from; j < j_to; ++j) {
        const std::int64_t cell = ((rest * s.oh + i) * s.ow + j) * s.c + c;
        load_some<V>(dy + cell, d);
        if (s.kind == PoolKind::max) {
#pragma unroll
          for (int k = 0; k < V; ++k) sum[k] += index[cell + k] == position ? d[k] : C(0);
        } else {
          const std::int64_t area = pool_window(s, i, s.h, s.oh).size * pool_window(s, j, s.w, s.ow).size;
          const C scale = C(1) / static_cast<C>(area);
#pragma unroll
          for (int k = 0; k < V; ++k) sum[k] += scale * d[k];
        }
      }
    store_some<V>(dx + g * V, sum);
  }
}

}  // namespace spn::kernels::cuda
