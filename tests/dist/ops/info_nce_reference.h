// The symmetric InfoNCE of a joined batch by brute force in double: values, gradients and accuracy from the definition.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "engine/ops/contrastive.h"

namespace spn::test {

struct InfoNce {
  double loss = 0, accuracy = 0, dscale = 0;
  Tensor dx, dy;  // f64 [b,d]
};

// x, y f64 [b,d]; counts(i, j): whether j ≠ i is a negative of i.
inline InfoNce info_nce_reference(const Tensor& x, const Tensor& y, double scale,
                                  const std::function<bool(std::size_t, std::size_t)>& counts) {
  const auto b = static_cast<std::size_t>(x.dim(0)), d = static_cast<std::size_t>(x.dim(1));
  const auto xv = x.to_vector<double>(), yv = y.to_vector<double>();
  std::vector<double> dot(b * b);
  const auto used = [&](std::size_t i, std::size_t j) { return i == j || counts(i, j); };
  for (std::size_t i = 0; i < b; ++i)
    for (std::size_t j = 0; j < b; ++j)
      for (std::size_t k = 0; k < d; ++k) dot[i * b + j] += xv[i * d + k] * yv[j * d + k];
  std::vector<double> row(b), col(b);
  InfoNce out;
  for (std::size_t i = 0; i < b; ++i) {
    const double own = scale * dot[i * b + i];
    double r = 0, c = 0;
    bool row_top = true, col_top = true;
    // relative to the positive: at the sizes and scales tested, e^(S − S_ii) stays in the range of double
    for (std::size_t j = 0; j < b; ++j) {
      if (used(i, j)) {
        r += std::exp(scale * dot[i * b + j] - own);
        row_top = row_top && (j == i || scale * dot[i * b + j] < own);
      }
      if (used(j, i)) {
        c += std::exp(scale * dot[j * b + i] - own);
        col_top = col_top && (j == i || scale * dot[j * b + i] < own);
      }
    }
    row[i] = own + std::log(r);
    col[i] = own + std::log(c);
    out.loss += (std::log(r) + std::log(c)) / (2.0 * static_cast<double>(b));
    out.accuracy += (row_top + col_top) / (2.0 * static_cast<double>(b));
  }
  std::vector<double> dx(b * d), dy(b * d);
  for (std::size_t i = 0; i < b; ++i)
    for (std::size_t j = 0; j < b; ++j) {
      if (!used(i, j)) continue;
      const double s = scale * dot[i * b + j];
      const double g =
          (std::exp(s - row[i]) + std::exp(s - col[j]) - (i == j ? 2.0 : 0.0)) / (2.0 * static_cast<double>(b));
      out.dscale += g * dot[i * b + j];
      for (std::size_t k = 0; k < d; ++k) {
        dx[i * d + k] += scale * g * yv[j * d + k];
        dy[j * d + k] += scale * g * xv[i * d + k];
      }
    }
  out.dx = Tensor::from(dx, x.shape());
  out.dy = Tensor::from(dy, y.shape());
  return out;
}

}  // namespace spn::test
