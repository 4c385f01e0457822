// The streamed InfoNCE on one panel of products x·y: row and column statistics in one pass over it, and its gradient.
// A block takes a tile of 256 columns, 8 (f64: 4) rows a warp; a thread holds 8 columns of its warp's rows in
// registers.
#pragma once

#include <limits>

#include "kernels/args/contrastive.h"
#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

inline constexpr int kLossThreads = 256, kLossWarps = kLossThreads / kWarp, kTileColumns = 256, kLaneColumns = 8;
template <class T>
inline constexpr int kWarpRows = std::is_same_v<T, double> ? 4 : 8;
template <class T>
inline constexpr int kTileRows = kLossWarps* kWarpRows<T>;

template <class T>
struct ContrastivePanel {
  const T* s;  // [rows, cols] of x·y, `row` apart: a multiple of 8, so that quads are whole
  std::int64_t row, rows, cols;
  std::int64_t first_row, first_col;  // where the panel lies in x and y
  std::int64_t positives;             // column of y that is row 0's positive
  const T* scale;
  const std::int32_t *row_slide, *col_slide, *row_cluster, *col_cluster;
  const float *row_xy, *col_xy;
  float limit;  // radius²
};

template <class T>
struct alignas(16) Four {
  T v[4];
};
template <>
struct alignas(8) Four<bf16> {
  bf16 v[4];
};

// Sums of parts of a row's or column's logsumexp: planes shift, Σ exp(S − shift), largest non-positive, each
// [count, row].
template <class T>
struct LossParts {
  T* p;
  std::int64_t count, row;
  __device__ T& at(int plane, std::int64_t part, std::int64_t i) const { return p[(plane * count + part) * row + i]; }
};

// e^(v − shift) with the shift prepared once: in f32 a multiply-add and the device's exp unit, 2 ulp beside the
// argument's own rounding.
template <class T>
__device__ inline T exp_term(T shift) {
  if constexpr (std::is_same_v<T, float>)
    return shift * 1.44269504F;
  else
    return shift;
}
template <class T>
__device__ inline T exp_less(T v, T term) {
  if constexpr (std::is_same_v<T, float>) {
    const float power = v * 1.44269504F - term;
#ifdef __CUDA_ARCH__
    float e;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(power));
    return e;
#else
    return std::exp2(power);
#endif
  } else {
    return std::exp(v - term);
  }
}

// NaN is left out, as on the CPU: it comes out of the sums.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};

// v[r] folded over the warp; lane l gets that of row l / (32 / N).
template <int N, class T, class Op>
__device__ inline T fold_rows(T (&v)[N], Op op) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int far = kWarp / 2;
#pragma unroll
  for (int half = N / 2; half > 0; half /= 2, far /= 2) {
    const bool up = (lane & far) != 0;
#pragma unroll
    for (int j = 0; j < half; ++j) {
      const T keep = up ? v[j + half] : v[j], send = up ? v[j] : v[j + half];
      v[j] = op(keep, __shfl_xor_sync(kAllLanes, send, far));
    }
  }
  for (; far > 0; far /= 2) v[0] = op(v[0], __shfl_xor_sync(kAllLanes, v[0], far));
  return v[0];
}

// This thread's place in a panel, and the facts of its columns.
template <class T, Negatives kind>
struct LossTile {
  static constexpr int kRows = kWarpRows<T>;
  const ContrastivePanel<T>& p;
  int lane, warp;
  std::int64_t row0, col0;  // of the warp's rows and the block's columns, in the panel
  bool crosses;             // positives lie in the block's tile
  std::int32_t slide[kLaneColumns], cluster[kLaneColumns];
  float xy[2 * kLaneColumns];

  __device__ explicit LossTile(const ContrastivePanel<T>& panel) : p(panel) {
    lane = static_cast<int>(threadIdx.x) % kWarp;
    warp = static_cast<int>(threadIdx.x) / kWarp;
    const std::int64_t tile_row = static_cast<std::int64_t>(blockIdx.y) * kTileRows<T>;
    row0 = tile_row + warp * kRows;
    col0 = static_cast<std::int64_t>(blockIdx.x) * kTileColumns;
    const std::int64_t positive = p.positives + p.first_row + tile_row - p.first_col;  // column of the tile's first row
    crosses = positive < col0 + kTileColumns && positive + kTileRows<T> > col0;
    if constexpr (kind != Negatives::all)
      for (int e = 0; e < kLaneColumns; ++e) {
        const std::int64_t j = p.first_col + col0 + column(e);
        const bool in = col0 + column(e) < p.cols;
        slide[e] = in ? p.col_slide[j] : 0;
        if constexpr (kind == Negatives::other_cluster) cluster[e] = in ? p.col_cluster[j] : 0;
        if constexpr (kind == Negatives::exclude_radius)
          for (int c = 0; c < 2; ++c) xy[2 * e + c] = in ? p.col_xy[2 * j + c] : 0.0F;
      }
  }
  // In the tile, of this lane's column e: two runs of four.
  __device__ int column(int e) const { return e / 4 * (kTileColumns / 2) + lane * 4 + e % 4; }
  __device__ bool row_in(int r) const { return row0 + r < p.rows; }
  __device__ bool col_in(int e) const { return col0 + column(e) < p.cols; }
  __device__ bool is_positive(int r, int e) const {
    return p.first_col + col0 + column(e) == p.positives + p.first_row + row0 + r;
  }
  // This lane's products of row r; what lies outside the panel is anything.
  __device__ void read(int r, T (&v)[kLaneColumns]) const {
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      Four<T> in = {};
      if (row_in(r) && col_in(4 * q))
        in = *reinterpret_cast<const Four<T>*>(p.s + (row0 + r) * p.row + col0 + column(4 * q));
#pragma unroll
      for (int k = 0; k < 4; ++k) v[4 * q + k] = in.v[k];
    }
  }
  // Bit e: the pair of row r and column e is no negative, nor is what lies outside the panel. Positives may have it
  // set.
  __device__ unsigned excluded(int r) const {
    unsigned bits = 0;
    if (!row_in(r)) return 0xffU;
    const std::int64_t i = p.first_row + row0 + r;
    std::int32_t own_slide = 0, own_cluster = 0;
    float x = 0, y = 0;
    if constexpr (kind != Negatives::all) own_slide = p.row_slide[i];
    if constexpr (kind == Negatives::other_cluster) own_cluster = p.row_cluster[i];
    if constexpr (kind == Negatives::exclude_radius) {
      x = p.row_xy[2 * i];
      y = p.row_xy[2 * i + 1];
    }
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) {
      bool out = !col_in(e);
      if constexpr (kind == Negatives::exclude_radius) {
        const float dx = x - xy[2 * e], dy = y - xy[2 * e + 1];
        out = out || (own_slide == slide[e] && dx * dx + dy * dy < p.limit);
      }
      if constexpr (kind == Negatives::other_cluster)
        out = out || (own_slide == slide[e] && own_cluster >= 0 && own_cluster == cluster[e]);
      bits |= (out ? 1U : 0U) << e;
    }
    return bits;
  }
};

// Row statistics of the tile into part row_part + blockIdx.x of the panel's rows, column statistics into part
// blockIdx.y of columns first_part_col + …; positives to where they belong.
template <class T, Negatives kind>
__global__ void __launch_bounds__(kLossThreads, 2)
    contrastive_statistics(ContrastivePanel<T> p, LossParts<T> of_rows, std::int64_t row_part, LossParts<T> of_cols,
                           std::int64_t first_part_col, double* positive) {
  constexpr int kRows = kWarpRows<T>, kLanes = kWarp / kRows;  // lanes that share a row's result
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  SPN_SHARED(T, of_warp, kLossWarps * kTileColumns);
  SPN_SHARED(T, of_col, kTileColumns);
  const LossTile<T, kind> tile(p);
  const int t = static_cast<int>(threadIdx.x);
  const T scale = *p.scale;

  std::uint64_t out = 0;  // all rules before all products: facts and products would not fit the registers together
#pragma unroll
  for (int r = 0; r < kRows; ++r) out |= static_cast<std::uint64_t>(tile.excluded(r)) << (8 * r);
  T v[kRows][kLaneColumns], own[kRows];  // own: the row's positive, where it is this lane's
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    tile.read(r, v[r]);
    own[r] = kNone;
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) {
      const T s = v[r][e] * scale;
      v[r][e] = (out >> (8 * r + e) & 1U) != 0 ? kNone : s;
      if (tile.crosses && tile.row_in(r) && tile.col_in(e) && tile.is_positive(r, e)) {
        own[r] = s;
        v[r][e] = kNone;  // until the largest others are known
        positive[p.first_row + tile.row0 + r] = static_cast<double>(s);
      }
    }
  }

  // The largest of this lane's row group and of column t.
  const auto maxima = [&](T& row, T& col) {
    T rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      rows[r] = kNone;
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e) rows[r] = v[r][e] > rows[r] ? v[r][e] : rows[r];
    }
    row = fold_rows(rows, Larger{});
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) {
      T most = kNone;
#pragma unroll
      for (int r = 0; r < kRows; ++r) most = v[r][e] > most ? v[r][e] : most;
      of_warp[tile.warp * kTileColumns + tile.column(e)] = most;
    }
    __syncthreads();
    col = kNone;
    for (int w = 0; w < kLossWarps; ++w) col = Larger{}(col, of_warp[w * kTileColumns + t]);
    __syncthreads();
  };
  T row_above, col_above, row_shift, col_shift;
  maxima(row_above, col_above);
  row_shift = row_above;
  col_shift = col_above;
  if (tile.crosses) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e)
        if (tile.row_in(r) && tile.col_in(e) && tile.is_positive(r, e)) v[r][e] = own[r];
    maxima(row_shift, col_shift);
  }
  row_shift = row_shift == kNone ? T(0) : row_shift;  // a shift that can be subtracted
  col_shift = col_shift == kNone ? T(0) : col_shift;
  of_col[t] = exp_term(col_shift);
  __syncthreads();

  T rows[kRows], cols[kLaneColumns], col_terms[kLaneColumns];
#pragma unroll
  for (int e = 0; e < kLaneColumns; ++e) {
    cols[e] = 0;
    col_terms[e] = of_col[tile.column(e)];
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const T term = exp_term(__shfl_sync(kAllLanes, row_shift, r * kLanes));
    rows[r] = 0;
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) {
      rows[r] += exp_less(v[r][e], term);
      cols[e] += exp_less(v[r][e], col_terms[e]);
    }
  }
  const T row_sum = fold_rows(rows, Sum{});
#pragma unroll
  for (int e = 0; e < kLaneColumns; ++e) of_warp[tile.warp * kTileColumns + tile.column(e)] = cols[e];
  __syncthreads();
  T col_sum = 0;
  for (int w = 0; w < kLossWarps; ++w) col_sum += of_warp[w * kTileColumns + t];

  const int r = tile.lane / kLanes;
  if (tile.lane % kLanes == 0 && tile.row_in(r)) {
    of_rows.at(0, row_part + blockIdx.x, tile.row0 + r) = row_shift;
    of_rows.at(1, row_part + blockIdx.x, tile.row0 + r) = row_sum;
    of_rows.at(2, row_part + blockIdx.x, tile.row0 + r) = row_above;
  }
  if (tile.col0 + t < p.cols) {
    of_cols.at(0, blockIdx.y, first_part_col + tile.col0 + t) = col_shift;
    of_cols.at(1, blockIdx.y, first_part_col + tile.col0 + t) = col_sum;
    of_cols.at(2, blockIdx.y, first_part_col + tile.col0 + t) = col_above;
  }
}

// A logsumexp in the making, in f64.
struct RunningSum {
  double shift, sum, above;
  __device__ void add(double other_shift, double other_sum, double other_above) {
    above = other_above > above ? other_above : above;
    if (other_sum == 0) return;
    if (other_shift > shift) {
      sum = sum == 0 ? 0 : sum * std::exp(shift - other_shift);
      shift = other_shift;
    }
    sum += other_sum * std::exp(other_shift - shift);
  }
};

// Joins the parts of n rows or columns, and what `running` (planes of n) holds of them unless this is the first time;
// results at the last. 32 of them a block, 8 threads each, joined in order.
template <class T>
__global__ void contrastive_merge(LossParts<T> parts, std::int64_t n, double* running, std::int64_t plane, bool first,
                                  bool last, double* lse, double* above) {
  constexpr int kShares = kLossThreads / kWarp;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  SPN_SHARED(double, shared, 3 * kLossThreads);
  const int t = static_cast<int>(threadIdx.x), share = t / kWarp;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kWarp + t % kWarp;
  RunningSum own{kNone, 0, kNone};
  if (i < n) {
    if (share == 0 && !first) own = {running[i], running[plane + i], running[2 * plane + i]};
    for (std::int64_t part = share; part < parts.count; part += kShares)
      own.add(static_cast<double>(parts.at(0, part, i)), static_cast<double>(parts.at(1, part, i)),
              static_cast<double>(parts.at(2, part, i)));
  }
  shared[t] = own.shift;
  shared[kLossThreads + t] = own.sum;
  shared[2 * kLossThreads + t] = own.above;
  __syncthreads();
  if (share != 0 || i >= n) return;
  for (int k = t + kWarp; k < kLossThreads; k += kWarp)
    own.add(shared[k], shared[kLossThreads + k], shared[2 * kLossThreads + k]);
  running[i] = own.shift;
  running[plane + i] = own.sum;
  running[2 * plane + i] = own.above;
  if (!last) return;
  lse[i] = own.sum == 0 ? kNone : own.shift + std::log(own.sum);
  above[i] = own.above;
}

// The panel's G · w · scale into g (same layout, P; may be the panel's memory for P = T), and the block's share of
// Σ G · (x yᵀ) added to dscale (null: not wanted), one place a block.
template <class T, class P, Negatives kind>
__global__ void __launch_bounds__(kLossThreads, 2)
    contrastive_gradient(ContrastivePanel<T> p, P* g, const double* row_lse, const double* col_lse, const T* dloss,
                         double mul, double* dscale, std::int64_t across) {
  const LossTile<T, kind> tile(p);
  const T scale = *p.scale;
  const T weight = static_cast<T>(mul * static_cast<double>(*dloss) * static_cast<double>(scale));
  T col_terms[kLaneColumns];
#pragma unroll
  for (int e = 0; e < kLaneColumns; ++e)
    col_terms[e] = tile.col_in(e) ? exp_term(static_cast<T>(col_lse[p.first_col + tile.col0 + tile.column(e)])) : T(0);
  double total = 0;
#pragma unroll
  for (int r = 0; r < kWarpRows<T>; ++r) {
    if (!tile.row_in(r)) break;
    T v[kLaneColumns];
    tile.read(r, v);
    const unsigned out = tile.excluded(r);
    const T row_term = exp_term(static_cast<T>(row_lse[p.first_row + tile.row0 + r]));
    T part = 0;
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) {
      const T product = v[e], s = product * scale;
      const bool positive = tile.crosses && tile.is_positive(r, e);
      T grad = 0;
      if (tile.col_in(e) && (positive || (out >> e & 1U) == 0)) {
        grad = exp_less(s, row_term) + exp_less(s, col_terms[e]) - (positive ? T(2) : T(0));
        part += grad * product;
      }
      v[e] = grad * weight;
    }
    total += static_cast<double>(part);
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      if (!tile.col_in(4 * q)) continue;
      Four<P> to;
#pragma unroll
      for (int k = 0; k < 4; ++k) to.v[k] = convert<P>(v[4 * q + k]);
      *reinterpret_cast<Four<P>*>(g + (tile.row0 + r) * p.row + tile.col0 + tile.column(4 * q)) = to;
    }
  }
  if (dscale == nullptr) return;
  total = block_reduce(total, Sum{}, 0.0);
  if (threadIdx.x == 0) dscale[blockIdx.y * across + blockIdx.x] += total;
}

// out = mul · dloss · Σ parts, by one block.
template <class T>
__global__ void contrastive_dscale(double* out, const double* parts, std::int64_t n, const T* dloss, double mul) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += kLossThreads) sum += parts[i];
  sum = block_reduce(sum, Sum{}, 0.0);
  if (threadIdx.x == 0) *out = mul * static_cast<double>(*dloss) * sum;
}

}  // namespace spn::kernels::cuda
