// Batch norm in four passes, so that the collectives over ranks happen between kernels and never inside one.
// x is [N,C,H,W] stored channels-last, or [N,C]. Per-channel vectors have x's compute dtype (fp32; f64 for f64).
#pragma once

#include <array>

#include "engine/core/view.h"

namespace spn::kernels {

// sums [2,C] f64: Σx and Σx² over this rank.
struct BatchNormStats {
  View x, sums;
  auto views() const { return std::array{&x, &sums}; }
};

// y = act((x − mean) · rstd · w + b + residual). residual may be absent; relu: act = ReLU.
struct BatchNormApply {
  View x, mean, rstd, w, b, residual, y;
  bool relu = false;
  auto views() const { return std::array{&x, &mean, &rstd, &w, &b, &residual, &y}; }
};

// g = dy where y > 0 or !relu. sums [2,C] f64: Σg and Σ g·(x − mean)·rstd over this rank.
// With relu, g is also written to `g` (for the residual and the next pass); it may be dy's memory. Absent: not written.
struct BatchNormBwdStats {
  View x, y, dy, mean, rstd, g, sums;
  bool relu = false;
  auto views() const { return std::array{&x, &y, &dy, &mean, &rstd, &g, &sums}; }
};

// dx = w · rstd · (g − sums[0]/count − x̂ · sums[1]/count), sums and count over all ranks; with fixed statistics
// (evaluation, frozen) dx = w · rstd · g. dx may be g's memory. With relu, g is dy and is masked by y > 0 here.
struct BatchNormBwdApply {
  View x, y, g, mean, rstd, w, sums, dx;
  double count = 0;
  bool fixed_statistics = false, relu = false;
  auto views() const { return std::array{&x, &y, &g, &mean, &rstd, &w, &sums, &dx}; }
};

}  // namespace spn::kernels
