// Copies between any two dtypes and layouts, and fills.
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/strided.h"

namespace spn::kernels::cpu {
namespace {

constexpr std::int64_t kTile = 32;

// y[i, j] = x[i, j] where y runs along j and x along i: in square tiles, so that both stay in cache.
template <class From, class To>
void transpose_tile(const From* x, std::int64_t x_row, std::int64_t x_col, To* y, std::int64_t y_row, std::int64_t rows,
                    std::int64_t cols) {
  for (std::int64_t j0 = 0; j0 < cols; j0 += kTile) {
    const std::int64_t j1 = std::min(cols, j0 + kTile);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = j0; j < j1; ++j) y[i * y_row + j] = convert<To>(x[i * x_row + j * x_col]);
  }
}

// The last two dims of both, transposed against each other; leading dims are a batch.
template <class From, class To>
bool transposed(const View& x, const View& y) {
  const int n = y.ndim();
  if (n < 2 || y.strides[-1] != 1 || x.strides[-2] != 1 || x.strides[-1] <= 1) return false;
  const std::int64_t rows = y.dim(-2), cols = y.dim(-1);
  if (rows < 8 || cols < 8) return false;
  const std::int64_t batch = y.numel() / (rows * cols), blocks = (rows + kTile - 1) / kTile;
  parallel_for(batch * blocks, kTile * cols, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t item = b; item < e; ++item) {
      std::int64_t rest = item / blocks, xo = 0, yo = 0;
      for (int d = n - 3; d >= 0; --d) {
        const std::int64_t at = rest % y.dim(d);
        rest /= y.dim(d);
        xo += at * x.strides[d];
        yo += at * y.strides[d];
      }
      const std::int64_t i0 = item % blocks * kTile;
      transpose_tile(x.ptr<From>() + xo + i0, std::int64_t{1}, x.strides[-1], y.ptr<To>() + yo + i0 * y.strides[-2],
                     y.strides[-2], std::min(kTile, rows - i0), cols);
    }
  });
  return true;
}

template <class From, class To>
void copy_as(const View& x, const View& y) {
  check(x.shape == y.shape, "copy", "expected equal shapes, got {} and {}", x.shape.str(), y.shape.str());
  if (y.numel() == 0 || transposed<From, To>(x, y)) return;
  const StridedLoop<2> loop("copy", {&y, &x});
  const From* xp = x.ptr<From>();
  To* yp = y.ptr<To>();
  const auto st = loop.inner_strides();
  const bool unit = loop.all_unit();
  loop.run(1, [&](const auto& at, std::int64_t n) {
    const From* p = xp + at[1];
    To* q = yp + at[0];
    if (unit) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = convert<To>(p[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) q[i * st[0]] = convert<To>(p[i * st[1]]);
    }
  });
}

}  // namespace

void copy(const Copy& a) {
  visit_all(a.y.dtype, "copy", [&](auto to) {
    using To = decltype(to);
    if (a.x) {
      visit_all(a.x.dtype, "copy", [&](auto from) { copy_as<decltype(from), To>(a.x, a.y); });
      return;
    }
    const To value = convert<To>(a.value);
    const StridedLoop<1> loop("fill", {&a.y});
    To* y = a.y.ptr<To>();
    const std::int64_t st = loop.inner_strides()[0];
    loop.run(1, [&](const auto& at, std::int64_t n) {
      if (st == 1)
        std::fill_n(y + at[0], n, value);
      else
        for (std::int64_t i = 0; i < n; ++i) y[at[0] + i * st] = value;
    });
  });
}

}  // namespace spn::kernels::cpu
