// Softmax, log softmax and cross-entropy over the last dim: one pass over the memory of each row.
#pragma once

#include <limits>

#include "kernels/cuda/device/rows.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cuda {

// max x and Σ exp(x − max) of a row; a NaN makes the sum one, as on the CPU.
template <class C>
struct RowStats {
  C max, sum;
};
template <class T, class L>
__device__ inline RowStats<compute_t<T>> stats_of(const typename L::template Row<T>& p, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  C m = -std::numeric_limits<C>::infinity(), s = 0;
  L::template each<V>(n, [&](int k, int i) {
    C e[V];
    p.get(k, i, e);
    for (int j = 0; j < V; ++j) m = Max{}(m, e[j]);
  });
  m = L::reduce(m, Max{}, -std::numeric_limits<C>::infinity());
  L::template each<V>(n, [&](int k, int i) {
    C e[V];
    p.get(k, i, e);
    for (int j = 0; j < V; ++j) s += fast_exp(e[j] - m);
  });
  return {m, L::reduce(s, Sum{}, C(0))};
}

template <class T, class L>
__global__ void softmax_rows(const T* x, T* y, bool log, std::int64_t rows, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(x + r * n, n);
    const RowStats<C> s = stats_of<T, L>(p, n);
    const C lse = s.max + std::log(s.sum), inv = C(1) / s.sum;
    T* q = y + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) e[j] = log ? e[j] - lse : fast_exp(e[j] - s.max) * inv;
      store_some<V>(q + i, e);
    });
  }
}

template <class T, class L>
__global__ void softmax_bwd_rows(const T* y, const T* dy, T* dx, bool log, std::int64_t rows, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(y + r * n, n), g(dy + r * n, n);
    C s = 0;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V];
      p.get(k, i, e);
      g.get(k, i, d);
      for (int j = 0; j < V; ++j) s += log ? d[j] : e[j] * d[j];
    });
    s = L::reduce(s, Sum{}, C(0));
    T* q = dx + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V];
      p.get(k, i, e);
      g.get(k, i, d);
      for (int j = 0; j < V; ++j) e[j] = log ? d[j] - fast_exp(e[j]) * s : e[j] * (d[j] - s);
      store_some<V>(q + i, e);
    });
  }
}

// A target that is no class gives NaN: its loss, and its row of the gradient.
template <class T, class L>
__global__ void cross_entropy_rows(const T* x, const std::int64_t* target, T* loss, compute_t<T>* lse,
                                   std::int64_t rows, int n) {
  using C = compute_t<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(x + r * n, n);
    const RowStats<C> s = stats_of<T, L>(p, n);
    if (L::rank() != 0) continue;
    const std::int64_t t = target[r];
    lse[r] = s.max + std::log(s.sum);
    // The maximum is taken off first: it may be far larger than the loss.
    loss[r] = convert<T>(t >= 0 && t < n ? std::log(s.sum) - (load(x[r * n + t]) - s.max)
                                         : std::numeric_limits<C>::quiet_NaN());
  }
}
template <class T, class L>
__global__ void cross_entropy_bwd_rows(const T* x, const std::int64_t* target, const compute_t<T>* lse, const T* dloss,
                                       T* dx, std::int64_t rows, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(x + r * n, n);
    const std::int64_t t = target[r];
    const C g = t >= 0 && t < n ? load(dloss[r]) : std::numeric_limits<C>::quiet_NaN(), l = lse[r];
    T* q = dx + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) e[j] = g * (fast_exp(e[j] - l) - (i + j == t ? C(1) : C(0)));
      store_some<V>(q + i, e);
    });
  }
}

}  // namespace spn::kernels::cuda
