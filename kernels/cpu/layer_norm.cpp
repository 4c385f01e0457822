// Layer norm over the last dim: one pass over each row forward, one backward; dw and db from per-thread partial sums.
#include <cmath>

#include "kernels/checks/rows.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/scratch.h"

namespace spn::kernels::cpu {
namespace {

// to = own + gate ⊙ branch; gate null: 1.
template <class T>
void add_row(const T* own, const T* branch, const T* gate, T* to, std::int64_t n) {
  if (gate != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = convert<T>(load(own[i]) + load(gate[i]) * load(branch[i]));
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = convert<T>(load(own[i]) + load(branch[i]));
  }
}

// T: of the rows, W: of the parameters.
template <class T, class W>
void forward(const LayerNormFwd& a) {
  using C = compute_t<T>;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  const T* x = a.x.ptr<T>();
  const W *w = a.w.ptr_or_null<W>(), *b = a.b.ptr_or_null<W>();
  T* y = a.y.ptr_or_null<T>();  // null: the sum alone
  C *mean = a.mean.ptr_or_null<C>(), *rstd = a.rstd.ptr_or_null<C>();
  const C eps = static_cast<C>(a.eps), inv_n = C(1) / static_cast<C>(n);
  const T *branch = a.branch.ptr_or_null<T>(), *gate = a.gate.ptr_or_null<T>();
  T* sum = a.sum.ptr_or_null<T>();
  parallel_for(rows, 3 * n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* p = x + r * n;
      if (branch != nullptr) {
        add_row(p, branch + r * n, gate, sum + r * n, n);
        if (y == nullptr) continue;
        p = sum + r * n;
      }
      C s = 0, ss = 0, rest = 0;
#pragma omp simd reduction(+ : s)
      for (std::int64_t i = 0; i < n; ++i) s += load(p[i]);
      const C near = s * inv_n;
      // what is left around a rounded mean corrects both (a mean of 30 costs 1e-5 otherwise, by the order of the sum)
#pragma omp simd reduction(+ : ss, rest)
      for (std::int64_t i = 0; i < n; ++i) {
        const C d = load(p[i]) - near;
        ss += d * d;
        rest += d;
      }
      const C m = near + rest * inv_n;
      const C rs = C(1) / std::sqrt((ss - rest * rest * inv_n) * inv_n + eps);
      mean[r] = m;
      rstd[r] = rs;
      T* q = y + r * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>((load(p[i]) - m) * rs * load(w[i]) + load(b[i]));
    }
  });
}

template <class T, class W>
void backward(const LayerNormBwd& a) {
  using C = compute_t<T>;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  const T *x = a.x.ptr<T>(), *dy = a.dy.ptr<T>();
  const W* w = a.w.ptr<W>();
  const C *mean = a.mean.ptr<C>(), *rstd = a.rstd.ptr<C>();
  T* dx = a.dx ? a.dx.ptr<T>() : nullptr;
  const bool params = a.dw || a.db;
  const C inv_n = C(1) / static_cast<C>(n);
  const int parts = threads_for(rows, 4 * n);
  static thread_local Scratch<C> memory;
  C* sums = memory.get(2 * n * parts);  // of this thread, read by the others inside the loop
  parallel_parts(parts, rows, [&](int part, std::int64_t begin, std::int64_t end) {
    C *pw = sums + 2 * n * part, *pb = pw + n;
    std::fill_n(pw, 2 * n, C(0));
    for (std::int64_t r = begin; r < end; ++r) {
      const T *p = x + r * n, *g = dy + r * n;
      const C m = mean[r], rs = rstd[r];
      if (params) {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) {
          const C d = load(g[i]);
          pw[i] += d * ((load(p[i]) - m) * rs);
          pb[i] += d;
        }
      }
      if (dx == nullptr) continue;
      C s1 = 0, s2 = 0;
#pragma omp simd reduction(+ : s1, s2)
      for (std::int64_t i = 0; i < n; ++i) {
        const C d = load(g[i]) * load(w[i]);
        s1 += d;
        s2 += d * ((load(p[i]) - m) * rs);
      }
      s1 *= inv_n;
      s2 *= inv_n;
      T* q = dx + r * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        q[i] = convert<T>(rs * (load(g[i]) * load(w[i]) - s1 - (load(p[i]) - m) * rs * s2));
    }
  });
  if (!params) return;
  for (std::int64_t i = 0; i < n; ++i) {
    C sw = 0, sb = 0;
    for (int p = 0; p < parts; ++p) {
      sw += sums[2 * n * p + i];
      sb += sums[2 * n * p + n + i];
    }
    if (a.dw) a.dw.ptr<W>()[i] = convert<W>(sw);
    if (a.db) a.db.ptr<W>()[i] = convert<W>(sb);
  }
}

}  // namespace

void layer_norm_fwd(const LayerNormFwd& a) {
  check_layer_norm(a.x, {&a.y}, {&a.w, &a.b});
  check_added_branch(a);
  if (a.x.numel() == 0) return;
  if (!a.y) return visit_float(a.x.dtype, "layer_norm", [&](auto x) { forward<decltype(x), decltype(x)>(a); });
  visit_layer_norm(a.x.dtype, a.w.dtype, [&](auto x, auto w) { forward<decltype(x), decltype(w)>(a); });
}

void layer_norm_bwd(const LayerNormBwd& a) {
  check_layer_norm(a.x, {&a.dy, &a.dx}, {&a.w, &a.dw, &a.db});
  if (a.x.numel() == 0) {
    for (const View* v : {&a.dw, &a.db})
      if (*v && v->numel() != 0) copy({.value = 0, .y = *v});
    return;
  }
  visit_layer_norm(a.x.dtype, a.w.dtype, [&](auto x, auto w) { backward<decltype(x), decltype(w)>(a); });
}

}  // namespace spn::kernels::cpu
