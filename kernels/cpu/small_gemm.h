// Small matrix products in registers, for one attention head: C[m,n] (+)= A[m,k] · B[k,n], B and C with unit stride in
// n, A with any strides (a transposed A costs nothing: its elements are broadcast). Explicit vectors, since compilers
// do not keep such accumulators in registers by themselves.
#pragma once

#include <cstdint>
#include <cstring>

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

template <int V, int Lanes, class C>
inline void panel(std::int64_t m, std::int64_t k, const MatrixA<C>& a, const C* b, std::int64_t b_row, C* c,
                  std::int64_t c_row, bool add) {
  constexpr int kRows = V >= 4 ? 4 : 8;
  std::int64_t r = 0;
  for (; r + kRows <= m; r += kRows)
    block<kRows, V, Lanes>(k, a.p + r * a.row, a.row, a.col, b, b_row, c + r * c_row, c_row, add);
  for (; r + 2 <= m; r += 2) block<2, V, Lanes>(k, a.p + r * a.row, a.row, a.col, b, b_row, c + r * c_row, c_row, add);
  if (r < m) block<1, V, Lanes>(k, a.p + r * a.row, a.row, a.col, b, b_row, c + r * c_row, c_row, add);
}

}  // namespace detail

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
