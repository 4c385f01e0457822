// Small matrix products in registers, for one attention head: C[m,n] (+)= A[m,k] · B[k,n], B and C with unit stride in
// n, A with any strides (a transposed A costs nothing: its elements are broadcast). Explicit vectors, since compilers
// do not keep such accumulators in registers by themselves.
#pragma once

#include <cstdint>
#include <utility>

namespace spn::kernels::cpu {

template <class C, int Lanes>
struct VectorOf {
  typedef C type __attribute__((vector_size(Lanes * sizeof(C)), aligned(sizeof(C)), may_alias));
};

template <class C>
struct MatrixA {
  const C* p;
  std::int64_t row, col;  // strides
};
template <class C>
struct MatrixRows {
  C* p;
  std::int64_t row;  // stride; columns are adjacent
};

namespace detail {

// Vectors of columns that a panel keeps, and rows beside them: accumulators, V columns and a broadcast value fit the
// machine's registers (32 with AVX-512, else 16).
#ifdef __AVX512F__
inline constexpr int kWidest = 4;
constexpr int rows_beside(int v) { return v >= 4 ? 6 : 8; }
#else
inline constexpr int kWidest = 2;
constexpr int rows_beside(int v) { return v >= 2 ? 6 : 8; }
#endif

// R rows times V vectors of columns.
template <int R, int V, int Lanes, class C>
inline void block(std::int64_t k, const C* a, std::int64_t a_row, std::int64_t a_col, const C* b, std::int64_t b_row,
                  C* c, std::int64_t c_row, bool add) {
  using Vec = typename VectorOf<C, Lanes>::type;
  Vec acc[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  for (std::int64_t i = 0; i < k; ++i) {
    Vec bv[V];
    for (int v = 0; v < V; ++v) bv[v] = *reinterpret_cast<const Vec*>(b + i * b_row + v * Lanes);
    for (int r = 0; r < R; ++r) {
      const C s = a[r * a_row + i * a_col];
      for (int v = 0; v < V; ++v) acc[r][v] += s * bv[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      Vec* out = reinterpret_cast<Vec*>(c + r * c_row + v * Lanes);
      *out = add ? *out + acc[r][v] : acc[r][v];
    }
}

template <int V, int Lanes, class C, int... R>
inline void block_of(std::int64_t rows, std::integer_sequence<int, R...>, std::int64_t k, const MatrixA<C>& a,
                     std::int64_t r, const C* b, std::int64_t b_row, C* c, std::int64_t c_row, bool add) {
  ((rows == R + 1 ? block<R + 1, V, Lanes>(k, a.p + r * a.row, a.row, a.col, b, b_row, c + r * c_row, c_row, add)
                  : void()),
   ...);
}

// All rows of V vectors of columns, in blocks of nearly equal height.
template <int V, int Lanes, class C>
inline void panel(std::int64_t m, std::int64_t k, const MatrixA<C>& a, const C* b, std::int64_t b_row, C* c,
                  std::int64_t c_row, bool add) {
  constexpr int kRows = rows_beside(V);
  const std::int64_t blocks = (m + kRows - 1) / kRows;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t r = m * i / blocks;
    block_of<V, Lanes>(m * (i + 1) / blocks - r, std::make_integer_sequence<int, kRows>{}, k, a, r, b, b_row, c, c_row,
                       add);
  }
}

inline void transpose8(const float* x, std::int64_t x_row, float* y, std::int64_t y_row) {
  using Vec = VectorOf<float, 8>::type;
  Vec r[8], s[8];
  for (int i = 0; i < 8; ++i) r[i] = *reinterpret_cast<const Vec*>(x + i * x_row);
  for (int i = 0; i < 4; ++i) {  // pairs of rows, interleaved
    s[2 * i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    s[2 * i + 1] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 2; ++i)  // then pairs of pairs
    for (int l = 0; l < 2; ++l) {
      r[4 * i + l] = __builtin_shufflevector(s[4 * i + l], s[4 * i + 2 + l], 0, 1, 8, 9, 4, 5, 12, 13);
      r[4 * i + 2 + l] = __builtin_shufflevector(s[4 * i + l], s[4 * i + 2 + l], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {  // then halves
    *reinterpret_cast<Vec*>(y + i * y_row) = __builtin_shufflevector(r[i], r[4 + i], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Vec*>(y + (i + 4) * y_row) = __builtin_shufflevector(r[i], r[4 + i], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace detail

// t[d, j] = rows[j, d] for j < n, at a stride of `padded`; what lies beyond n stays. 8 x 8 blocks by shuffles in float.
template <class C>
inline void transpose(const MatrixRows<const C>& rows, std::int64_t n, std::int64_t width, C* t, std::int64_t padded) {
  std::int64_t j = 0;
  if constexpr (sizeof(C) == 4) {
    for (; j + 8 <= n; j += 8) {
      std::int64_t d = 0;
      for (; d + 8 <= width; d += 8)
        detail::transpose8(rows.p + j * rows.row + d, rows.row, t + d * padded + j, padded);
      for (; d < width; ++d)
        for (std::int64_t l = 0; l < 8; ++l) t[d * padded + j + l] = rows.p[(j + l) * rows.row + d];
    }
  }
  for (; j < n; ++j)
    for (std::int64_t d = 0; d < width; ++d) t[d * padded + j] = rows.p[j * rows.row + d];
}

template <class C>
void small_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const MatrixA<C>& a, const MatrixRows<const C>& b,
                const MatrixRows<C>& c, bool add) {
#ifdef __AVX512F__
  constexpr int kWide = static_cast<int>(64 / sizeof(C));
#else
  constexpr int kWide = static_cast<int>(32 / sizeof(C));
#endif
  constexpr int kNarrow = kWide / 2;
  std::int64_t j = 0;
  if constexpr (detail::kWidest == 4)
    for (; j + 4 * kWide <= n; j += 4 * kWide) detail::panel<4, kWide>(m, k, a, b.p + j, b.row, c.p + j, c.row, add);
  for (; j + 2 * kWide <= n; j += 2 * kWide) detail::panel<2, kWide>(m, k, a, b.p + j, b.row, c.p + j, c.row, add);
  for (; j + kWide <= n; j += kWide) detail::panel<1, kWide>(m, k, a, b.p + j, b.row, c.p + j, c.row, add);
  for (; j + kNarrow <= n; j += kNarrow) detail::panel<1, kNarrow>(m, k, a, b.p + j, b.row, c.p + j, c.row, add);
  for (; j < n; ++j)  // widths that are not a multiple of 8 floats
    for (std::int64_t r = 0; r < m; ++r) {
      C s = 0;
      for (std::int64_t i = 0; i < k; ++i) s += a.p[r * a.row + i * a.col] * b.p[i * b.row + j];
      c.p[r * c.row + j] = add ? c.p[r * c.row + j] + s : s;
    }
}

}  // namespace spn::kernels::cpu
