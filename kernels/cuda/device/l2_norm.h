// Rows of length 1: one pass over the memory of each row.
#pragma once

#include "kernels/cuda/device/rows.h"

namespace spn::kernels::cuda {

template <class T, class L>
__global__ void l2_norm_rows(const T* x, T* y, compute_t<T>* rnorm, std::int64_t rows, int n, compute_t<T> eps) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(x + r * n, n);
    C s = 0;
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) s += e[j] * e[j];
    });
    const C norm = std::sqrt(L::reduce(s, Sum{}, C(0)));
    const C inv = C(1) / (norm < eps ? eps : norm);  // a NaN stays
    if (L::rank() == 0) rnorm[r] = inv;
    T* q = y + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) e[j] *= inv;
      store_some<V>(q + i, e);
    });
  }
}

// clamped: 1 / eps, by the same expression as forward: such rows only scale.
template <class T, class L>
__global__ void l2_norm_bwd_rows(const T* y, const compute_t<T>* rnorm, const T* dy, T* dx, std::int64_t rows, int n,
                                 compute_t<T> clamped) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(y + r * n, n), g(dy + r * n, n);
    C s = 0;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V];
      p.get(k, i, e);
      g.get(k, i, d);
      for (int j = 0; j < V; ++j) s += e[j] * d[j];
    });
    s = L::reduce(s, Sum{}, C(0));
    const C inv = rnorm[r];
    if (inv >= clamped) s = 0;
    T* q = dx + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V];
      p.get(k, i, e);
      g.get(k, i, d);
      for (int j = 0; j < V; ++j) e[j] = inv * (d[j] - e[j] * s);
      store_some<V>(q + i, e);
    });
  }
}

}  // namespace spn::kernels::cuda
