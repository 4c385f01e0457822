// Elementwise maps. Contiguous and broadcast inner runs vectorise; bf16 is computed in float.
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/strided.h"
#include "kernels/math/unary.h"

namespace spn::kernels::cpu {
namespace {

// Rough operations an element, for the choice of one thread or all.
std::int64_t cost_of(UnaryOp op) {
  switch (op) {
    case UnaryOp::neg:
    case UnaryOp::square:
    case UnaryOp::relu: return 1;
    case UnaryOp::sqrt:
    case UnaryOp::exp:
    case UnaryOp::sigmoid: return 4;
    case UnaryOp::gelu: return 8;
    default: return 32;
  }
}

template <class T, class F>
inline void map_unit(const T* x, T* y, std::int64_t n, F f) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = convert<T>(f(load(x[i])));
}
template <class T, class F>
inline void map_strided(const T* x, std::int64_t sx, T* y, std::int64_t sy, std::int64_t n, F f) {
  for (std::int64_t i = 0; i < n; ++i) y[i * sy] = convert<T>(f(load(x[i * sx])));
}

// y = f(x), element by element.
template <class T, class F>
void map(const char* where, const View& x, const View& y, std::int64_t cost, F f) {
  const StridedLoop<2> loop(where, {&y, &x});
  const T* xp = x.ptr<T>();
  T* yp = y.ptr<T>();
  const auto st = loop.inner_strides();
  const bool unit = loop.all_unit();
  loop.run(cost, [&](const auto& at, std::int64_t n) {
    if (unit)
      map_unit(xp + at[1], yp + at[0], n, f);
    else
      map_strided(xp + at[1], st[1], yp + at[0], st[0], n, f);
  });
}

}  // namespace

void unary_fwd(const UnaryFwd& a) {
  visit_float(a.y.dtype, "unary", [&](auto e) {
    using T = decltype(e);
    visit_unary(a.op, [&]<UnaryOp op>() {
      map<T>("unary", a.x, a.y, cost_of(op), [](compute_t<T> v) { return unary_value<op>(v); });
    });
  });
}

void unary_bwd(const UnaryBwd& a) {
  if (!a.dx) return;
  const StridedLoop<4> loop("unary_bwd", {&a.dx, &a.x, &a.y, &a.dy});
  const auto st = loop.inner_strides();
  const bool unit = loop.all_unit();
  visit_float(a.dx.dtype, "unary_bwd", [&](auto e) {
    using T = decltype(e);
    T* dx = a.dx.ptr<T>();
    const T *x = a.x.ptr<T>(), *y = a.y.ptr<T>(), *dy = a.dy.ptr<T>();
    visit_unary(a.op, [&]<UnaryOp op>() {
      loop.run(cost_of(op), [&](const auto& at, std::int64_t n) {
        T* d = dx + at[0];
        const T *px = x + at[1], *py = y + at[2], *pd = dy + at[3];
        if (unit) {
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i)
            d[i] = convert<T>(unary_derivative<op>(load(px[i]), load(py[i])) * load(pd[i]));
        } else {
          for (std::int64_t i = 0; i < n; ++i)
            d[i * st[0]] =
                convert<T>(unary_derivative<op>(load(px[i * st[1]]), load(py[i * st[2]])) * load(pd[i * st[3]]));
        }
      });
    });
  });
}

void binary(const Binary& a) {
  const StridedLoop<3> loop("binary", {&a.y, &a.a, &a.b});
  const auto st = loop.inner_strides();
  visit_float(a.y.dtype, "binary", [&](auto e) {
    using T = decltype(e);
    T* yp = a.y.ptr<T>();
    const T *ap = a.a.ptr<T>(), *bp = a.b.ptr<T>();
    visit_binary(a.op, [&]<BinaryOp op>() {
      loop.run(1, [&](const auto& at, std::int64_t n) {
        T* y = yp + at[0];
        const T *p = ap + at[1], *q = bp + at[2];
        if (st[0] == 1 && st[1] == 1 && st[2] == 1) {
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) y[i] = convert<T>(binary_value<op>(load(p[i]), load(q[i])));
        } else if (st[0] == 1 && st[1] == 1 && st[2] == 0) {
          const auto b = load(*q);
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) y[i] = convert<T>(binary_value<op>(load(p[i]), b));
        } else if (st[0] == 1 && st[1] == 0 && st[2] == 1) {
          const auto v = load(*p);
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) y[i] = convert<T>(binary_value<op>(v, load(q[i])));
        } else {
          for (std::int64_t i = 0; i < n; ++i)
            y[i * st[0]] = convert<T>(binary_value<op>(load(p[i * st[1]]), load(q[i * st[2]])));
        }
      });
    });
  });
}

void affine(const Affine& a) {
  visit_float(a.y.dtype, "affine", [&](auto e) {
    using T = decltype(e);
    const auto mul = static_cast<compute_t<T>>(a.mul), add = static_cast<compute_t<T>>(a.add);
    map<T>("affine", a.x, a.y, 1, [mul, add](compute_t<T> v) { return mul * v + add; });
  });
}

}  // namespace spn::kernels::cpu
