// A tile of the streamed InfoNCE's logits in a block's registers, as both of its passes see it (contrastive.h): 256
// columns, 8 (f64: 4) rows a warp; a thread holds 8 columns of its warp's rows, all read before the first is used.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/args/contrastive.h"
#include "kernels/cuda/device/base.h"
#include "kernels/math/fast.h"

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
// Of an array of them, one by one.
template <class T>
__device__ inline T* values_of(Four<T>* fours) {
  return reinterpret_cast<T*>(fours);
}
template <class T>
__device__ inline void store_four(T* p, const Four<T>& v) {
  if constexpr (sizeof v <= 16)
    store_whole(p, v);
  else
    *reinterpret_cast<Four<T>*>(p) = v;
}

// e^(v − shift) with the shift prepared once: in f32 a multiply-add and 2^, beside the argument's own rounding.
template <class T>
__device__ inline T exp_term(T shift) {
  if constexpr (std::is_same_v<T, float>)
    return shift * static_cast<float>(kLog2e);
  else
    return shift;
}
template <class T>
__device__ inline T exp_less(T v, T term) {
  if constexpr (std::is_same_v<T, float>)
    return brief_exp2(v * static_cast<float>(kLog2e) - term);
  else
    return std::exp(v - term);
}
// e^(shift − lse), the shift as the others know it: its term.
template <class T>
__device__ inline T exp_apart(T term, double lse) {
  if constexpr (std::is_same_v<T, float>)
    return brief_exp2(static_cast<float>(static_cast<double>(term) - lse * kLog2e));
  else
    return std::exp(term - lse);
}

// How far from a tile's common shift the largest of a row or column may be: e^40 times the sum of a tile is a float,
// and so is e^-40 times what is e^-47 smaller. Where nothing counts (−inf), anything is near.
template <class T>
__device__ inline bool is_near(T v, T shift) {
  return v == -std::numeric_limits<T>::infinity() || std::abs(v - shift) <= T(40);
}

// Whether it holds for all threads of a block. A barrier: what was written to shared memory before is seen after it.
__device__ inline bool all_of_block(bool holds) {
  SPN_SHARED(int, of_warp, kLossWarps);
  const bool warp = __all_sync(kAllLanes, holds);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = warp ? 1 : 0;
  __syncthreads();
  int all = 1;
#pragma unroll
  for (int w = 0; w < kLossWarps; ++w) all &= of_warp[w];
  return all != 0;
}

// Places in shared memory of a tile's columns, then of its rows.
template <class T>
inline constexpr int kPlaces = kTileColumns + kTileRows<T>;
template <int n>
struct alignas(16) LossFacts {
  std::int32_t slide[n], cluster[n];
  float x[n], y[n];
};
// e^(shift − lse) for a tile's common shift, and what exp_less wants of the lse.
template <class T, int n>
struct alignas(16) LossTerms {
  T factor[n], term[n];
};

// What a rule looks at of one row or column; what it does not read is never loaded.
template <Negatives kind>
struct LossFact {
  std::int32_t slide, cluster;  // unknown clusters: below 0, and rows' are not columns'
  float x, y;
  // The pair is no negative. It may be a positive.
  __device__ bool excludes(const LossFact& other, float limit) const {
    if constexpr (kind == Negatives::exclude_radius) {
      const float dx = x - other.x, dy = y - other.y;
      return slide == other.slide && dx * dx + dy * dy < limit;
    } else if constexpr (kind == Negatives::other_cluster) {
      return slide == other.slide && cluster == other.cluster;
    } else {
      return false;
    }
  }
};

// This thread's place in a panel, and the facts of the tile's rows and columns in shared memory: in registers they
// would not fit beside the products.
template <class T, Negatives kind>
struct LossTile {
  static constexpr int kRows = kWarpRows<T>;
  using Fact = LossFact<kind>;
  const ContrastivePanel<T>& p;
  int lane, warp;
  int row0;                     // the warp's first row, in the tile
  std::int64_t tile_row, col0;  // where the tile lies in the panel
  int rows, cols;               // of the panel in the tile
  int positive;                 // row 0's, a column of the tile; far from it where no row's lies in it
  bool inside, crosses;         // the panel has the whole tile; positives lie in it
  LossFacts<kPlaces<T>>* facts = nullptr;

  __device__ explicit LossTile(const ContrastivePanel<T>& panel) : p(panel) {
    lane = static_cast<int>(threadIdx.x) % kWarp;
    warp = static_cast<int>(threadIdx.x) / kWarp;
    row0 = warp * kRows;
    tile_row = static_cast<std::int64_t>(blockIdx.y) * kTileRows<T>;
    col0 = static_cast<std::int64_t>(blockIdx.x) * kTileColumns;
    rows = p.rows - tile_row < kTileRows<T> ? static_cast<int>(p.rows - tile_row) : kTileRows<T>;
    cols = p.cols - col0 < kTileColumns ? static_cast<int>(p.cols - col0) : kTileColumns;
    inside = rows == kTileRows<T> && cols == kTileColumns;
    const std::int64_t first = p.positives + p.first_row + tile_row - p.first_col - col0;
    crosses = first < kTileColumns && first + kTileRows<T> > 0;
    positive = crosses ? static_cast<int>(first) : -kTileColumns;
  }
  // In the tile, of this lane's column e: two runs of four.
  __device__ int column(int e) const { return e / 4 * (kTileColumns / 2) + lane * 4 + e % 4; }
  __device__ bool is_in(int r, int e) const { return row0 + r < rows && column(e) < cols; }
  __device__ bool is_positive(int r, int e) const { return column(e) - row0 - r == positive && is_in(r, e); }
  static __device__ int at_most(int v, int most) { return v < most ? v : most; }
  // Element (row, col) of the tile in memory of the panel's layout: its distance from the tile's first fits 32 bits.
  template <class M>
  __device__ M* at(M* panel, int row, int col) const {
    return panel + tile_row * p.row + col0 + (row * static_cast<int>(p.row) + col);
  }

  // This lane's products. Outside the panel they are anything of the tile's: an address, not a branch, so that no load
  // waits for another.
  __device__ void read(T (&v)[kRows][kLaneColumns]) const {
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const T* from = at(p.s, at_most(row0, rows - 1), at_most(column(4 * q), (cols - 1) / 4 * 4));
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const auto in = *reinterpret_cast<const Four<T>*>(from);
#pragma unroll
        for (int k = 0; k < 4; ++k) v[r][4 * q + k] = in.v[k];
        from += row0 + r + 1 < rows ? static_cast<int>(p.row) : 0;
      }
    }
  }

  // The facts to shared memory; a barrier before they are read.
  __device__ void read_facts() {
    if constexpr (kind == Negatives::all) return;
    SPN_SHARED(LossFacts<kPlaces<T>>, shared, 1);
    facts = shared;
    const int t = static_cast<int>(threadIdx.x);
    keep_fact(t, p.first_col + col0 + at_most(t, cols - 1), -1, p.col_slide, p.col_cluster, p.col_xy);
    if (t < kTileRows<T>)
      keep_fact(kTileColumns + t, p.first_row + tile_row + at_most(t, rows - 1), -2, p.row_slide, p.row_cluster,
                p.row_xy);
  }
  __device__ void keep_fact(int at, std::int64_t i, std::int32_t unknown, const std::int32_t* of_slide,
                            const std::int32_t* of_cluster, const float* of_xy) {
    facts->slide[at] = of_slide[i];
    if constexpr (kind == Negatives::other_cluster) facts->cluster[at] = of_cluster[i] < 0 ? unknown : of_cluster[i];
    if constexpr (kind == Negatives::exclude_radius) {
      facts->x[at] = of_xy[2 * i];
      facts->y[at] = of_xy[2 * i + 1];
    }
  }
  __device__ Fact fact_of_row(int r) const { return fact(kTileColumns + row0 + r); }
  // Of this lane's columns 4q to 4q + 3.
  __device__ void facts_of_columns(int q, Fact (&f)[4]) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) f[k] = fact(column(4 * q) + k);
  }
  __device__ Fact fact(int at) const {
    Fact f{};
    if constexpr (kind != Negatives::all) f.slide = facts->slide[at];
    if constexpr (kind == Negatives::other_cluster) f.cluster = facts->cluster[at];
    if constexpr (kind == Negatives::exclude_radius) {
      f.x = facts->x[at];
      f.y = facts->y[at];
    }
    return f;
  }
};

}  // namespace spn::kernels::cuda
