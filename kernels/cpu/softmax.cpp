// Softmax, log softmax and cross-entropy over the last dim.
#include <cmath>
#include <limits>

#include "kernels/checks/rows.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cpu {
namespace {

// max x and Σ exp(x − max) of a row.
template <class T>
struct RowStats {
  compute_t<T> max, sum;
  compute_t<T> lse() const { return max + std::log(sum); }
};

template <class T>
RowStats<T> stats_of(const T* x, std::int64_t n) {
  using C = compute_t<T>;
  C m = -std::numeric_limits<C>::infinity(), s = 0;
#pragma omp simd reduction(max : m)
  for (std::int64_t i = 0; i < n; ++i) m = load(x[i]) > m ? load(x[i]) : m;
#pragma omp simd reduction(+ : s)
  for (std::int64_t i = 0; i < n; ++i) s += fast_exp(load(x[i]) - m);
  return {m, s};
}

// Bounds are checked here, before any thread starts.
const std::int64_t* targets(const View& x, const View& target) {
  check_targets(x, target);
  const std::int64_t* t = target.ptr<std::int64_t>();
  for (std::int64_t i = 0; i < x.dim(0); ++i)
    check(t[i] >= 0 && t[i] < x.dim(1), "cross_entropy", "target of row {}: expected a class in [0, {}), got {}", i,
          x.dim(1), t[i]);
  return t;
}

}  // namespace

void softmax_fwd(const SoftmaxFwd& a) {
  check_same_rows("softmax", a.x, a.y);
  if (a.x.numel() == 0) return;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  visit_float(a.x.dtype, "softmax", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T* x = a.x.ptr<T>();
    T* y = a.y.ptr<T>();
    parallel_for(rows, 8 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* p = x + r * n;
        T* q = y + r * n;
        const RowStats<T> s = stats_of(p, n);
        if (a.log) {
          const C lse = s.lse();
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(load(p[i]) - lse);
        } else {
          const C inv = C(1) / s.sum;
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(fast_exp(load(p[i]) - s.max) * inv);
        }
      }
    });
  });
}

void softmax_bwd(const SoftmaxBwd& a) {
  if (!a.dx || a.y.numel() == 0) return;
  check_same_rows("softmax", a.y, a.dy);
  check_same_rows("softmax", a.y, a.dx);
  const std::int64_t n = a.y.dim(-1), rows = a.y.numel() / n;
  visit_float(a.y.dtype, "softmax", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T *y = a.y.ptr<T>(), *dy = a.dy.ptr<T>();
    T* dx = a.dx.ptr<T>();
    parallel_for(rows, 4 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T *p = y + r * n, *g = dy + r * n;
        T* q = dx + r * n;
        C s = 0;
        if (a.log) {
#pragma omp simd reduction(+ : s)
          for (std::int64_t i = 0; i < n; ++i) s += load(g[i]);
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(load(g[i]) - fast_exp(load(p[i])) * s);
        } else {
#pragma omp simd reduction(+ : s)
          for (std::int64_t i = 0; i < n; ++i) s += load(p[i]) * load(g[i]);
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(load(p[i]) * (load(g[i]) - s));
        }
      }
    });
  });
}

void cross_entropy_fwd(const CrossEntropyFwd& a) {
  const std::int64_t* target = targets(a.x, a.target);
  const std::int64_t rows = a.x.dim(0), n = a.x.dim(1);
  visit_float(a.x.dtype, "cross_entropy", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T* x = a.x.ptr<T>();
    T* loss = a.loss.ptr<T>();
    C* lse = a.lse.ptr<C>();
    parallel_for(rows, 6 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const RowStats<T> s = stats_of(x + r * n, n);
        lse[r] = s.lse();
        // The maximum is taken off first: it may be far larger than the loss.
        loss[r] = convert<T>(std::log(s.sum) - (load(x[r * n + target[r]]) - s.max));
      }
    });
  });
}

void cross_entropy_bwd(const CrossEntropyBwd& a) {
  if (!a.dx) return;
  const std::int64_t* target = targets(a.x, a.target);
  const std::int64_t rows = a.x.dim(0), n = a.x.dim(1);
  visit_float(a.x.dtype, "cross_entropy", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T *x = a.x.ptr<T>(), *dloss = a.dloss.ptr<T>();
    const C* lse = a.lse.ptr<C>();
    T* dx = a.dx.ptr<T>();
    parallel_for(rows, 4 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* p = x + r * n;
        T* q = dx + r * n;
        const C g = load(dloss[r]), l = lse[r];
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(g * fast_exp(load(p[i]) - l));
        const std::int64_t t = target[r];
        q[t] = convert<T>(g * (fast_exp(load(p[t]) - l) - C(1)));
      }
    });
  });
}

}  // namespace spn::kernels::cpu
