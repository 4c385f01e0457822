// Sums, means and maxima. Runs of at most kRun terms are added in the compute dtype, their results in double, so that
// rounding does not grow with the length. Order depends on shape, layout and (full sums) number of threads only.
#include <limits>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace spn::kernels::cpu {
namespace {

constexpr std::int64_t kRun = 512, kColumns = 64;

// Dims (outermost first) with their strides in x and y; neighbours are merged where both allow.
struct Dims {
  int n = 0;
  std::array<std::int64_t, kMaxDims> extent{}, x{}, y{};

  void push_inner(std::int64_t e, std::int64_t sx, std::int64_t sy) {
    const auto u = static_cast<std::size_t>(n - 1);
    if (n > 0 && x[u] == sx * e && y[u] == sy * e) {
      extent[u] *= e;
      x[u] = sx;
      y[u] = sy;
      return;
    }
    const auto v = static_cast<std::size_t>(n++);
    extent[v] = e;
    x[v] = sx;
    y[v] = sy;
  }
  std::int64_t count() const {
    std::int64_t c = 1;
    for (int d = 0; d < n; ++d) c *= extent[static_cast<std::size_t>(d)];
    return c;
  }
  // Takes the innermost dim away.
  Dims outer() const {
    Dims o = *this;
    --o.n;
    return o;
  }
  std::int64_t x_at(std::int64_t i) const { return offset(i, x); }
  std::int64_t y_at(std::int64_t i) const { return offset(i, y); }

 private:
  std::int64_t offset(std::int64_t i, const std::array<std::int64_t, kMaxDims>& st) const {
    std::int64_t o = 0;
    for (int d = n - 1; d >= 0; --d) {
      const auto u = static_cast<std::size_t>(d);
      o += i % extent[u] * st[u];
      i /= extent[u];
    }
    return o;
  }
};

template <bool is_max, class T>
inline void fold(T& acc, T v) {
  if constexpr (is_max)
    acc = v > acc ? v : acc;
  else
    acc += v;
}
template <bool is_max, class C>
constexpr C start() {
  return is_max ? -std::numeric_limits<C>::infinity() : C(0);
}

// One run of x with a fixed stride.
template <bool is_max, class T>
double reduce_run(const T* x, std::int64_t stride, std::int64_t n) {
  using C = compute_t<T>;
  double total = start<is_max, double>();
  for (std::int64_t b = 0; b < n; b += kRun) {
    const std::int64_t len = std::min(kRun, n - b);
    const T* p = x + b * stride;
    C acc = start<is_max, C>();
    if (is_max) {
      for (std::int64_t i = 0; i < len; ++i) fold<is_max>(acc, load(p[i * stride]));
    } else if (stride == 1) {
#pragma omp simd reduction(+ : acc)
      for (std::int64_t i = 0; i < len; ++i) acc += load(p[i]);
    } else {
      for (std::int64_t i = 0; i < len; ++i) acc += load(p[i * stride]);
    }
    fold<is_max>(total, static_cast<double>(acc));
  }
  return total;
}

// The innermost dim of x is reduced: every output is a sum of runs.
template <bool is_max, class T, class Y>
void reduce_rows(const View& xv, const View& yv, const Dims& kept, const Dims& reduced, double scale) {
  const T* x = xv.ptr<T>();
  Y* y = yv.ptr<Y>();
  const auto in = static_cast<std::size_t>(reduced.n - 1);
  const std::int64_t outputs = kept.count(), length = reduced.extent[in], stride = reduced.x[in];
  const Dims outer = reduced.outer();
  const std::int64_t runs = outer.count(), terms = runs * length;
  const auto finish = [&](double v) { return convert<Y>(v * scale); };
  if (outputs >= omp_get_max_threads() || threads_for(terms, 1) == 1) {
    parallel_for(outputs, terms, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t o = b; o < e; ++o) {
        const T* base = x + kept.x_at(o);
        double acc = start<is_max, double>();
        for (std::int64_t r = 0; r < runs; ++r)
          fold<is_max>(acc, reduce_run<is_max>(base + outer.x_at(r), stride, length));
        y[kept.y_at(o)] = finish(acc);
      }
    });
    return;
  }
  // Few outputs, many terms: the terms are shared out, and the parts added in order.
  const int parts = threads_for(terms, 1);
  std::vector<double> partial(static_cast<std::size_t>(parts));
  for (std::int64_t o = 0; o < outputs; ++o) {
    const T* base = x + kept.x_at(o);
    const bool split_runs = runs >= parts;
    parallel_parts(parts, split_runs ? runs : length, [&](int part, std::int64_t b, std::int64_t e) {
      double acc = start<is_max, double>();
      if (split_runs)
        for (std::int64_t r = b; r < e; ++r)
          fold<is_max>(acc, reduce_run<is_max>(base + outer.x_at(r), stride, length));
      else
        for (std::int64_t r = 0; r < runs; ++r)
          fold<is_max>(acc, reduce_run<is_max>(base + outer.x_at(r) + b * stride, stride, e - b));
      partial[static_cast<std::size_t>(part)] = acc;
    });
    double acc = start<is_max, double>();
    for (double p : partial) fold<is_max>(acc, p);
    y[kept.y_at(o)] = finish(acc);
  }
}

// The innermost dim of x is kept: columns are added side by side, kColumns at a time.
template <bool is_max, class T, class Y>
void reduce_columns(const View& xv, const View& yv, const Dims& kept, const Dims& reduced, double scale) {
  using C = compute_t<T>;
  const T* x = xv.ptr<T>();
  Y* y = yv.ptr<Y>();
  const auto in = static_cast<std::size_t>(kept.n - 1);
  const std::int64_t columns = kept.extent[in], sx = kept.x[in], sy = kept.y[in];
  const Dims outer = kept.outer();
  const std::int64_t blocks = (columns + kColumns - 1) / kColumns, rows = reduced.count();
  parallel_for(outer.count() * blocks, rows * std::min(columns, kColumns), [&](std::int64_t b, std::int64_t e) {
    double total[kColumns];
    C acc[kColumns];
    for (std::int64_t item = b; item < e; ++item) {
      const std::int64_t c0 = item % blocks * kColumns, n = std::min(kColumns, columns - c0);
      const T* base = x + outer.x_at(item / blocks) + c0 * sx;
      std::fill_n(total, n, start<is_max, double>());
      for (std::int64_t r0 = 0; r0 < rows; r0 += kRun) {
        const std::int64_t r1 = std::min(rows, r0 + kRun);
        std::fill_n(acc, kColumns, start<is_max, C>());
        for (std::int64_t r = r0; r < r1; ++r) {
          const T* p = base + reduced.x_at(r);
          if (sx == 1 && n == kColumns) {
#pragma omp simd
            for (std::int64_t i = 0; i < kColumns; ++i) fold<is_max>(acc[i], load(p[i]));
          } else {
            for (std::int64_t i = 0; i < n; ++i) fold<is_max>(acc[i], load(p[i * sx]));
          }
        }
        for (std::int64_t i = 0; i < n; ++i) fold<is_max>(total[i], static_cast<double>(acc[i]));
      }
      Y* out = y + outer.y_at(item / blocks) + c0 * sy;
      for (std::int64_t i = 0; i < n; ++i) out[i * sy] = convert<Y>(total[i] * scale);
    }
  });
}

}  // namespace

void reduce(const Reduce& a) {
  const View &x = a.x, &y = a.y;
  check(x.ndim() == y.ndim(), "reduce", "expected y with x's {} dims, got {}", x.ndim(), y.shape.str());
  std::array<int, kMaxDims> order{};
  for (int d = 0; d < x.ndim(); ++d) {
    check(y.dim(d) == x.dim(d) || y.dim(d) == 1, "reduce", "expected y of extents 1 or x's ({}), got {}", x.shape.str(),
          y.shape.str());
    order[static_cast<std::size_t>(d)] = d;
  }
  if (y.numel() == 0) return;
  const std::int64_t count = x.numel() / y.numel();
  check(a.kind != ReduceKind::max || count > 0, "reduce", "the maximum of no elements (shape {}) is not defined",
        x.shape.str());
  // Outermost first, by x's strides.
  std::stable_sort(order.begin(), order.begin() + x.ndim(), [&](int p, int q) { return x.strides[p] > x.strides[q]; });
  Dims kept, reduced;
  bool rows = true;  // of the innermost dim that is longer than 1
  for (int i = 0; i < x.ndim(); ++i) {
    const int d = order[static_cast<std::size_t>(i)];
    if (x.dim(d) == 1) continue;
    rows = y.dim(d) == 1;
    if (rows)
      reduced.push_inner(x.dim(d), x.strides[d], 0);
    else
      kept.push_inner(x.dim(d), x.strides[d], y.strides[d]);
  }
  if (reduced.n == 0) reduced.push_inner(1, 1, 0);
  if (kept.n == 0) kept.push_inner(1, 1, 1);
  const double scale = a.kind == ReduceKind::mean ? 1.0 / static_cast<double>(count) : 1.0;
  const auto as = [&](auto from, auto to) {
    using T = decltype(from);
    using Y = decltype(to);
    if (a.kind == ReduceKind::max)
      rows ? reduce_rows<true, T, Y>(x, y, kept, reduced, scale)
           : reduce_columns<true, T, Y>(x, y, kept, reduced, scale);
    else
      rows ? reduce_rows<false, T, Y>(x, y, kept, reduced, scale)
           : reduce_columns<false, T, Y>(x, y, kept, reduced, scale);
  };
  if (x.dtype == DType::bf16 && y.dtype == DType::f32) return as(bf16{}, float{});
  visit_float(x.dtype, "reduce", [&](auto e) { as(e, e); });
}

}  // namespace spn::kernels::cpu
