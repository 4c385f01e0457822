// Rows of length 1.
#include <cmath>

#include "kernels/checks/rows.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace spn::kernels::cpu {
void l2_norm_fwd(const L2NormFwd& a) {
  check_normed_rows(a.x, a.y, a.rnorm);
  if (a.x.numel() == 0) return;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  visit_float(a.x.dtype, "l2_normalise", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T* x = a.x.ptr<T>();
    T* y = a.y.ptr<T>();
    C* rnorm = a.rnorm.ptr<C>();
    parallel_for(rows, 2 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* p = x + r * n;
        T* q = y + r * n;
        C s = 0;
#pragma omp simd reduction(+ : s)
        for (std::int64_t i = 0; i < n; ++i) s += load(p[i]) * load(p[i]);
        const C inv = C(1) / std::max(std::sqrt(s), static_cast<C>(a.eps));
        rnorm[r] = inv;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(load(p[i]) * inv);
      }
    });
  });
}

void l2_norm_bwd(const L2NormBwd& a) {
  if (!a.dx || a.y.numel() == 0) return;
  check_normed_rows(a.y, a.dy, a.rnorm);
  const std::int64_t n = a.y.dim(-1), rows = a.y.numel() / n;
  visit_float(a.y.dtype, "l2_normalise", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T *y = a.y.ptr<T>(), *dy = a.dy.ptr<T>();
    const C* rnorm = a.rnorm.ptr<C>();
    T* dx = a.dx.ptr<T>();
    const C clamped = C(1) / static_cast<C>(a.eps);  // the same expression as forward: such rows only scale
    parallel_for(rows, 3 * n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T *p = y + r * n, *g = dy + r * n;
        T* q = dx + r * n;
        C s = 0;
#pragma omp simd reduction(+ : s)
        for (std::int64_t i = 0; i < n; ++i) s += load(p[i]) * load(g[i]);
        const C inv = rnorm[r];
        if (inv >= clamped) s = 0;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(inv * (load(g[i]) - load(p[i]) * s));
      }
    });
  });
}

}  // namespace spn::kernels::cpu
