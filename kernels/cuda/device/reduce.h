// Sums and maxima of runs and of columns. As on the CPU at most kRun terms are added in the compute dtype, and the
// results of such runs in double; the order depends on shape, layout and the device's size only.
#pragma once

#include <limits>

#include "kernels/cuda/device/rows.h"
#include "kernels/cuda/device/strided.h"

namespace spn::kernels::cuda {

inline constexpr int kRun = 512;

// NaN does not count in a maximum, as on the CPU.
template <bool is_max>
struct Fold {
  template <class C>
  __device__ C operator()(C a, C b) const {
    if constexpr (is_max)
      return b > a ? b : a;
    else
      return a + b;
  }
};
template <bool is_max, class C>
__device__ inline C fold_start() {
  return is_max ? -std::numeric_limits<C>::infinity() : C(0);
}

// One thread's part of elements [begin, end) of a run. V = 0: any strides; else V elements a load, and begin, end and
// the place of x are multiples of V.
template <bool is_max, int V, class T>
__device__ inline double fold_run(const T* x, const Strided<1>& run, std::int64_t begin, std::int64_t end, int rank,
                                  int size) {
  using C = compute_t<T>;
  constexpr int kWidth = V == 0 ? 1 : V;
  const Fold<is_max> fold;
  const std::int64_t step = static_cast<std::int64_t>(size) * kWidth, far = step * (kRun / kWidth);
  double total = fold_start<is_max, double>();
  for (std::int64_t from = begin + rank * kWidth; from < end; from += far) {
    const std::int64_t to = from + far < end ? from + far : end;
    C acc = fold_start<is_max, C>();
#pragma unroll(V == 0 ? 1 : 4)
    for (std::int64_t i = from; i < to; i += step) {
      C e[kWidth];
      if constexpr (V == 0) {
        std::int64_t at[1];
        run.offsets(i, at);
        e[0] = load(x[at[0]]);
      } else {
        load_some<kWidth>(x + i, e);
      }
#pragma unroll
      for (int j = 0; j < kWidth; ++j) acc = fold(acc, e[j]);
    }
    total = fold(total, static_cast<double>(acc));
  }
  return total;
}

// Every output is a run of x, which `parts` groups share where there are few outputs: partial [outputs, parts].
// kept: strides of x and y.
template <class T, class Y, bool is_max, class G, int V>
__global__ void reduce_rows(const T* x, Y* y, double* partial, Strided<2> kept, const __grid_constant__ Strided<1> run,
                            std::int64_t parts, std::int64_t share, double scale) {
  const Fold<is_max> fold;
  for (std::int64_t item = G::first(); item < kept.numel * parts; item += G::count()) {
    const std::int64_t part = item % parts, begin = part * share;
    const std::int64_t end = begin + share < run.numel ? begin + share : run.numel;
    std::int64_t at[2];
    kept.offsets(item / parts, at);
    double total = fold_run<is_max, V>(x + at[0], run, begin, end, G::rank(), G::size());
    total = G::reduce(total, fold, fold_start<is_max, double>());
    if (G::rank() != 0) continue;
    if (partial != nullptr)
      partial[item] = total;
    else
      y[at[1]] = convert<Y>(total * scale);
  }
}

// Columns of x side by side, V adjacent ones a thread: `lanes` threads abreast, the others of the block below them on
// further rows. Blocks share the rows where there are few columns: partial [outer, parts, columns].
struct ColumnSplit {
  Strided<2> outer;  // strides of x and y
  Strided<1> rows;
  std::int64_t columns = 0, y_step = 1, parts = 1, share = 0, blocks = 1;  // blocks: of columns
  int lanes = 1;
};
template <class T, class Y, bool is_max, int V>
__global__ void reduce_columns(const T* x, Y* y, double* partial, ColumnSplit s, double scale) {
  using C = compute_t<T>;
  SPN_SHARED(double, sums, 256 * V);
  const Fold<is_max> fold;
  const int threads = static_cast<int>(blockDim.x), me = static_cast<int>(threadIdx.x);
  const int lane = me % s.lanes, line = me / s.lanes, lines = threads / s.lanes;
  const std::int64_t items = s.outer.numel * s.parts * s.blocks;
  for (std::int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const std::int64_t first = item % s.blocks * s.lanes * V, part = item / s.blocks % s.parts;
    const std::int64_t o = item / s.blocks / s.parts, c = first + lane * V;
    const std::int64_t begin = part * s.share;
    const std::int64_t end = begin + s.share < s.rows.numel ? begin + s.share : s.rows.numel;
    std::int64_t at[2];
    s.outer.offsets(o, at);
    double total[V];
#pragma unroll
    for (int j = 0; j < V; ++j) total[j] = fold_start<is_max, double>();
    if (c < s.columns) {
      const T* p = x + at[0] + c;
      const std::int64_t far = static_cast<std::int64_t>(lines) * kRun;
      for (std::int64_t from = begin + line; from < end; from += far) {
        const std::int64_t to = from + far < end ? from + far : end;
        C acc[V];
#pragma unroll
        for (int j = 0; j < V; ++j) acc[j] = fold_start<is_max, C>();
#pragma unroll 4
        for (std::int64_t r = from; r < to; r += lines) {
          std::int64_t row[1];
          s.rows.offsets(r, row);
          C e[V];
          load_some<V>(p + row[0], e);
#pragma unroll
          for (int j = 0; j < V; ++j) acc[j] = fold(acc[j], e[j]);
        }
#pragma unroll
        for (int j = 0; j < V; ++j) total[j] = fold(total[j], static_cast<double>(acc[j]));
      }
    }
#pragma unroll
    for (int j = 0; j < V; ++j) sums[j * threads + me] = total[j];
    __syncthreads();
    for (int q = me; q < s.lanes * V; q += threads) {
      const int j = q / s.lanes, l = q % s.lanes;
      const std::int64_t column = first + l * V + j;
      if (column >= s.columns) continue;
      double sum = sums[j * threads + l];
      for (int k = 1; k < lines; ++k) sum = fold(sum, sums[j * threads + k * s.lanes + l]);
      if (partial != nullptr)
        partial[(o * s.parts + part) * s.columns + column] = sum;
      else
        y[at[1] + column * s.y_step] = convert<Y>(sum * scale);
    }
    __syncthreads();
  }
}

}  // namespace spn::kernels::cuda
