// The streamed InfoNCE on one panel of products x·y: row and column statistics in one pass over it, and its gradient;
// a block takes a tile (contrastive_tile.h).
//
// One exp a logit serves both directions where a tile allows it: e^(S − m) for one m of the tile, near to the largest
// logit (backward: to the logsumexp) of each of its rows and columns. Nothing overflows then, and what underflows is
// less than e^-47 of the largest. Elsewhere, each direction has its own exp.
#pragma once

#include "kernels/cuda/device/contrastive_tile.h"

namespace spn::kernels::cuda {

// Sums of parts of a row's or column's logsumexp: planes shift, Σ exp(S − shift), largest non-positive, each
// [count, row].
template <class T>
struct LossParts {
  T* p;
  std::int64_t count, row;
  __device__ T& at(int plane, std::int64_t part, std::int64_t i) const { return p[(plane * count + part) * row + i]; }
};

// NaN is left out, as on the CPU: it comes out of the sums.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return std::fmax(a, b);
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

// Row statistics of the tile into part row_part + blockIdx.x of the panel's rows, column statistics into part
// blockIdx.y of columns first_part_col + …; positives to where they belong.
template <class T, Negatives kind>
__global__ void __launch_bounds__(kLossThreads, 2)
    contrastive_statistics(ContrastivePanel<T> p, LossParts<T> of_rows, std::int64_t row_part, LossParts<T> of_cols,
                           std::int64_t first_part_col, double* positive) {
  constexpr int kRows = kWarpRows<T>, kLanes = kWarp / kRows;  // lanes that share a row's result
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  SPN_SHARED(Four<T>, of_warp, kLossWarps * kTileColumns / 4);
  SPN_SHARED(Four<T>, of_col, kTileColumns / 4);
  SPN_SHARED(T, own, kTileRows<T>);  // positives: written and read by the same thread
  SPN_SHARED(T, first_row, 1);
  LossTile<T, kind> tile(p);
  const int t = static_cast<int>(threadIdx.x);
  T v[kRows][kLaneColumns];
  tile.read(v);
  tile.read_facts();
  if constexpr (kind != Negatives::all) __syncthreads();

  const T scale = *p.scale;
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int e = 0; e < kLaneColumns; ++e) v[r][e] *= scale;
  const auto each_positive = [&](auto&& f) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e)
        if (tile.is_positive(r, e)) f(r, v[r][e]);
  };
  if (tile.crosses)
    each_positive([&](int r, T& s) {
      own[tile.row0 + r] = s;
      positive[p.first_row + tile.tile_row + tile.row0 + r] = static_cast<double>(s);
      s = kNone;  // until the largest others are known
    });
  if constexpr (kind != Negatives::all)
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      LossFact<kind> cols[4];
      tile.facts_of_columns(q, cols);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const LossFact<kind> row = tile.fact_of_row(r);
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (row.excludes(cols[k], p.limit)) v[r][4 * q + k] = kNone;
      }
    }
  if (!tile.inside)
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e) v[r][e] = tile.is_in(r, e) ? v[r][e] : kNone;

  // The largest of this lane's row and of column t; a barrier before the next call.
  const auto maxima = [&](T& row, T& col) {
    T rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) rows[r] = kNone;
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      Four<T> cols{{kNone, kNone, kNone, kNone}};
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          rows[r] = Larger{}(rows[r], v[r][4 * q + k]);
          cols.v[k] = Larger{}(cols.v[k], v[r][4 * q + k]);
        }
      of_warp[(tile.warp * kTileColumns + tile.column(4 * q)) / 4] = cols;
    }
    row = fold_rows(rows, Larger{});
    if (t == 0) first_row[0] = row;
    __syncthreads();
    col = kNone;
#pragma unroll
    for (int w = 0; w < kLossWarps; ++w) col = Larger{}(col, values_of(of_warp)[w * kTileColumns + t]);
  };
  T row_above, col_above;
  maxima(row_above, col_above);
  T row_shift = row_above, col_shift = col_above;
  if (tile.crosses) {
    each_positive([&](int r, T& s) { s = own[tile.row0 + r]; });
    __syncthreads();
    maxima(row_shift, col_shift);
  }

  T rows[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) rows[r] = 0;
  const T shift = first_row[0] == kNone ? T(0) : first_row[0];
  if (all_of_block(is_near(row_shift, shift) && is_near(col_shift, shift))) {
    const T term = exp_term(shift);
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      Four<T> cols{};
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const T e = exp_less(v[r][4 * q + k], term);
          rows[r] += e;
          cols.v[k] += e;
        }
      of_warp[(tile.warp * kTileColumns + tile.column(4 * q)) / 4] = cols;
    }
    row_shift = col_shift = shift;
  } else {
    row_shift = row_shift == kNone ? T(0) : row_shift;  // a shift that can be subtracted
    col_shift = col_shift == kNone ? T(0) : col_shift;
    values_of(of_col)[t] = exp_term(col_shift);
    __syncthreads();
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const Four<T> terms = of_col[tile.column(4 * q) / 4];
      Four<T> cols{};
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const T term = exp_term(__shfl_sync(kAllLanes, row_shift, r * kLanes));
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          rows[r] += exp_less(v[r][4 * q + k], term);
          cols.v[k] += exp_less(v[r][4 * q + k], terms.v[k]);
        }
      }
      of_warp[(tile.warp * kTileColumns + tile.column(4 * q)) / 4] = cols;
    }
  }
  const T row_sum = fold_rows(rows, Sum{});
  __syncthreads();
  T col_sum = 0;
#pragma unroll
  for (int w = 0; w < kLossWarps; ++w) col_sum += values_of(of_warp)[w * kTileColumns + t];

  const int r = tile.row0 + tile.lane / kLanes;
  if (tile.lane % kLanes == 0 && r < tile.rows) {
    of_rows.at(0, row_part + blockIdx.x, tile.tile_row + r) = row_shift;
    of_rows.at(1, row_part + blockIdx.x, tile.tile_row + r) = row_sum;
    of_rows.at(2, row_part + blockIdx.x, tile.tile_row + r) = row_above;
  }
  if (t < tile.cols) {
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
// results at the last. 32 of them a block, 8 threads each, joined in order; a thread reads 4 parts before it joins
// them.
template <class T>
__global__ void contrastive_merge(LossParts<T> parts, std::int64_t n, double* running, std::int64_t plane, bool first,
                                  bool last, double* lse, double* above) {
  constexpr int kShares = kLossThreads / kWarp, kAtOnce = 4;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  SPN_SHARED(double, shared, 3 * kLossThreads);
  const int t = static_cast<int>(threadIdx.x), share = t / kWarp;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kWarp + t % kWarp;
  RunningSum own{kNone, 0, kNone};
  if (i < n) {
    if (share == 0 && !first) own = {running[i], running[plane + i], running[2 * plane + i]};
    for (std::int64_t part = share; part < parts.count; part += kAtOnce * kShares) {
      T shift[kAtOnce], sum[kAtOnce];
      double most = kNone, total = 0, largest = kNone;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const std::int64_t wanted = part + k * kShares, at = wanted < parts.count ? wanted : part;
        shift[k] = parts.at(0, at, i);
        sum[k] = at == wanted ? parts.at(1, at, i) : T(0);
        largest = Larger{}(largest, static_cast<double>(parts.at(2, at, i)));
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k)
        if (sum[k] != 0) most = Larger{}(most, static_cast<double>(shift[k]));  // else the shift may be anything
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k)
        if (sum[k] != 0) total += static_cast<double>(sum[k]) * std::exp(static_cast<double>(shift[k]) - most);
      own.add(most, total, largest);
    }
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
  constexpr int kRows = kWarpRows<T>;
  using Terms = LossTerms<T, kPlaces<T>>;
  SPN_SHARED(Terms, terms, 1);
  LossTile<T, kind> tile(p);
  const int t = static_cast<int>(threadIdx.x);
  T v[kRows][kLaneColumns];
  tile.read(v);
  tile.read_facts();
  const T scale = *p.scale;
  const T weight = static_cast<T>(mul * static_cast<double>(*dloss) * static_cast<double>(scale));

  const auto shift = static_cast<T>(row_lse[p.first_row + tile.tile_row]);
  const T term = exp_term(shift);
  const auto keep = [&](int at, double lse) {
    terms->factor[at] = exp_apart(term, lse);
    terms->term[at] = exp_term(static_cast<T>(lse));
    return is_near(static_cast<T>(lse), shift);
  };
  bool near = keep(t, col_lse[p.first_col + tile.col0 + tile.at_most(t, tile.cols - 1)]);
  if (t < kTileRows<T>)
    near = keep(kTileColumns + t, row_lse[p.first_row + tile.tile_row + tile.at_most(t, tile.rows - 1)]) && near;
  T part = 0;
  // One exp where all are near, for tiles whose pairs are neither positives nor outside the panel; two for any tile.
  const auto pass = [&](auto one_exp) {
    constexpr bool kOneExp = decltype(one_exp)::value;
    const T* const kept = kOneExp ? terms->factor : terms->term;
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      LossFact<kind> facts[4];
      tile.facts_of_columns(q, facts);
      T cols[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) cols[k] = kept[tile.column(4 * q) + k];
      P* row_of_g = tile.at(g, tile.row0, tile.column(4 * q));
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const LossFact<kind> fact = tile.fact_of_row(r);
        const T row = kept[kTileColumns + tile.row0 + r];
        Four<P> to;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const T product = v[r][4 * q + k], s = product * scale;
          bool counts = !fact.excludes(facts[k], p.limit);
          T grad;
          if constexpr (kOneExp) {
            grad = exp_less(s, term) * (row + cols[k]);
          } else {
            const bool positive = tile.is_positive(r, 4 * q + k);
            counts = tile.is_in(r, 4 * q + k) && (counts || positive);
            grad = exp_less(s, row) + exp_less(s, cols[k]) - (positive ? T(2) : T(0));
          }
          if (counts) part += grad * product;
          to.v[k] = convert<P>(counts ? grad * weight : T(0));
        }
        if (kOneExp || tile.is_in(r, 4 * q)) store_four(row_of_g, to);
        row_of_g += static_cast<int>(p.row);
      }
    }
  };
  if (all_of_block(near && tile.inside && !tile.crosses))  // its barrier: g may be what others still read
    pass(std::true_type{});
  else
    pass(std::false_type{});
  if (dscale == nullptr) return;
  const double total = block_reduce(static_cast<double>(part), Sum{}, 0.0);
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
