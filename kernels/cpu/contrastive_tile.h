// What both passes of the contrastive kernels share: the split into panels of rows and tiles of columns, the logits of
// one tile, the negative rule on it.
//
// Rows go in panels, one after another; within a panel each thread owns a contiguous share of the columns. So a
// thread alone writes its columns' results, and only a panel's rows are summed over threads: scratch is
// O(threads · panel), independent of the batch, and sums have one order for a number of threads.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cpu {

inline constexpr std::int64_t kPanelRows = 256, kTileCols = 512;

// Memory of the caching allocator: counted by memory(), and warm from the second call on.
template <class T>
class KernelBuffer {
 public:
  explicit KernelBuffer(std::int64_t n)
      : bytes_(static_cast<std::size_t>(n) * sizeof(T)), data_(static_cast<T*>(alloc(bytes_))) {}
  ~KernelBuffer() { release(data_, bytes_); }
  KernelBuffer(const KernelBuffer&) = delete;
  KernelBuffer& operator=(const KernelBuffer&) = delete;
  T* get() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

// c[m,n] = alpha · op(a) · op(b) + beta · c, row-major, op transposing where asked. False when oneDNN failed.
inline bool tile_gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
                      std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  return dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) == dnnl_success;
}
// Double is for checks: plain loops.
inline bool tile_gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const double* a,
                      std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (std::int64_t p = 0; p < k; ++p)
        s += (ta ? a[p * lda + i] : a[i * lda + p]) * (tb ? b[j * ldb + p] : b[p * ldb + j]);
      c[i * ldc + j] = alpha * s + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  return true;
}

// e^x with 0 instead of denormals, which would take a slow path in every product.
template <class T>
inline T exp_or_zero(T x) {
  constexpr T low = std::is_same_v<T, float> ? T(-87) : T(-700);
  const T e = fast_exp(x < low ? low : x);
  return x < low ? T(0) : e;
}

template <class T>
inline constexpr T kNone = -std::numeric_limits<T>::infinity();

// x, y, the rule and the shares of threads.
template <class T>
struct ContrastivePlan {
  const T *x, *y;
  T scale;
  std::int64_t rows, cols, d, first_row;
  const NegativeRule& rule;
  int threads;
  std::int64_t tile_cols, tiles;
  bool bounded;  // |S| ≤ 40: exp(S) needs no shift, so that one exp serves both directions

  template <class Args>
  explicit ContrastivePlan(const char* where, const Args& a)
      : x(a.x.template ptr<T>()),
        y(a.y.template ptr<T>()),
        scale(*a.scale.template ptr<T>()),
        rows(a.x.dim(0)),
        cols(a.y.dim(0)),
        d(a.x.dim(1)),
        first_row(a.first_row),
        rule(a.rule) {
    check(a.x.is_contiguous() && a.y.is_contiguous(), where, "expected contiguous x and y");
    check(a.y.dim(1) == d, where, "expected y of width {}, got {}", d, a.y.dim(1));
    check(first_row >= 0 && first_row + rows <= cols, where,
          "expected positives of {} rows from column {}, got {} columns", rows, first_row, cols);
    threads = threads_for(cols, rows * d);
    const std::int64_t share = ((cols + threads - 1) / threads + 15) / 16 * 16;
    tile_cols = std::min(kTileCols, share);
    tiles = (cols + tile_cols - 1) / tile_cols;
    bounded = std::abs(static_cast<double>(scale)) * longest(x, rows) * longest(y, cols) <= 40;
  }

  std::int64_t panel_rows(std::int64_t r0) const { return std::min(kPanelRows, rows - r0); }
  std::int64_t tile_begin(int thread) const { return tiles * thread / threads; }
  std::int64_t tile_elements() const { return std::min(kPanelRows, rows) * tile_cols; }

  // s [r, c] with row stride tile_cols: the logits of rows r0… and columns c0….
  bool logits(std::int64_t r0, std::int64_t r, std::int64_t c0, std::int64_t c, T* s) const {
    return tile_gemm(false, true, r, c, d, scale, x + r0 * d, d, y + c0 * d, d, T(0), s, tile_cols);
  }
  // The panel's rows whose positive lies in the tile: f(row in panel, its element).
  template <class F>
  void each_positive(std::int64_t r0, std::int64_t r, std::int64_t c0, std::int64_t c, T* s, F&& f) const {
    const std::int64_t shift = first_row + r0 - c0;  // column in tile of row 0's positive
    for (std::int64_t i = std::max<std::int64_t>(0, -shift); i < std::min(r, c - shift); ++i)
      f(i, s[i * tile_cols + i + shift]);
  }
  // Sets pairs that are no negatives to −inf; positives of one slide with it too: put them back.
  void exclude(std::int64_t r0, std::int64_t r, std::int64_t c0, std::int64_t c, T* s) const {
    if (rule.kind == Negatives::all) return;
    const std::int32_t *rs = rule.row_slide.template ptr<std::int32_t>() + r0,
                       *cs = rule.col_slide.template ptr<std::int32_t>() + c0;
    if (rule.kind == Negatives::exclude_radius) {
      const float *rp = rule.row_xy.template ptr<float>() + 2 * r0, *cp = rule.col_xy.template ptr<float>() + 2 * c0;
      const float limit = static_cast<float>(rule.radius_um * rule.radius_um);
      for (std::int64_t i = 0; i < r; ++i) {
        T* row = s + i * tile_cols;
#pragma omp simd
        for (std::int64_t j = 0; j < c; ++j) {
          const float dx = rp[2 * i] - cp[2 * j], dy = rp[2 * i + 1] - cp[2 * j + 1];
          const bool near = (rs[i] == cs[j]) & (dx * dx + dy * dy < limit);
          row[j] = near ? kNone<T> : row[j];
        }
      }
    } else {
      const std::int32_t *rc = rule.row_cluster.template ptr<std::int32_t>() + r0,
                         *cc = rule.col_cluster.template ptr<std::int32_t>() + c0;
      for (std::int64_t i = 0; i < r; ++i) {
        if (rc[i] < 0) continue;
        T* row = s + i * tile_cols;
#pragma omp simd
        for (std::int64_t j = 0; j < c; ++j) {
          const bool same = (rs[i] == cs[j]) & (rc[i] == cc[j]);
          row[j] = same ? kNone<T> : row[j];
        }
      }
    }
  }

 private:
  double longest(const T* v, std::int64_t n) const {
    double most = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      double s = 0;
      for (std::int64_t k = 0; k < d; ++k) s += static_cast<double>(v[i * d + k]) * static_cast<double>(v[i * d + k]);
      if (!(s <= most)) most = s;  // NaN stays
      if (std::isnan(most)) break;
    }
    return std::sqrt(most);
  }
};

}  // namespace spn::kernels::cpu
