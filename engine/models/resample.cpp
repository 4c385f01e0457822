#include "engine/models/resample.h"

#include <algorithm>
#include <cmath>

namespace spn::models {
namespace {

// Keys' cubic with a = -0.5, Pillow's and, with antialias, PyTorch's.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

struct Taps {
  std::int64_t first = 0;
  std::vector<double> weight;
};

// The input cells that output cell i reads; shrinking widens the filter (antialias), enlarging does not.
Taps taps(std::int64_t i, std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), widen = std::max(scale, 1.0);
  const double centre = scale * (static_cast<double>(i) + 0.5), support = 2 * widen;
  Taps t;
  t.first = std::max<std::int64_t>(std::lround(centre - support), 0);
  const std::int64_t end = std::min<std::int64_t>(std::lround(centre + support), from);
  double sum = 0;
  for (std::int64_t j = t.first; j < end; ++j) {
    t.weight.push_back(cubic((static_cast<double>(j) - centre + 0.5) / widen));
    sum += t.weight.back();
  }
  for (double& w : t.weight) w /= sum;
  return t;
}

}  // namespace

Tensor resample_position(const Tensor& position, std::int64_t from, std::int64_t to) {
  check(position.dtype() == DType::f32 && position.ndim() == 3 && position.dim(0) == 1 &&
            position.dim(1) == 1 + from * from && from > 0 && to > 0,
        "resample_position", "expected f32 [1, 1 + {} x {}, width], got {} {}", from, from, name_of(position.dtype()),
        position.shape().str());
  if (from == to) return position;
  const std::int64_t width = position.dim(2);
  const Tensor in = position.contiguous(), out = Tensor::empty({1, 1 + to * to, width});
  const float* x = in.data<float>();
  float* y = out.data<float>();
  std::copy_n(x, width, y);
  x += width;
  y += width;
  std::vector<double> across(static_cast<std::size_t>(from * to * width), 0);  // [from rows, to columns, width]
  for (std::int64_t c = 0; c < to; ++c) {
    const Taps t = taps(c, from, to);
    for (std::int64_t r = 0; r < from; ++r)
      for (std::size_t k = 0; k < t.weight.size(); ++k)
        for (std::int64_t w = 0; w < width; ++w)
          across[static_cast<std::size_t>((r * to + c) * width + w)] +=
              t.weight[k] * x[(r * from + t.first + static_cast<std::int64_t>(k)) * width + w];
  }
  std::vector<double> row(static_cast<std::size_t>(to * width));
  for (std::int64_t r = 0; r < to; ++r) {
    const Taps t = taps(r, from, to);
    std::ranges::fill(row, 0);
    for (std::size_t k = 0; k < t.weight.size(); ++k) {
      const double* line = &across[(static_cast<std::size_t>(t.first) + k) * row.size()];
      for (std::size_t w = 0; w < row.size(); ++w) row[w] += t.weight[k] * line[w];
    }
    for (std::size_t w = 0; w < row.size(); ++w)
      y[static_cast<std::size_t>(r) * row.size() + w] = static_cast<float>(row[w]);
  }
  return out;
}

}  // namespace spn::models
