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
// With sums (over all ranks; count values a channel): mean and variance of the batch, and with update_running
// running = (1 − momentum) · running + momentum · batch, its variance unbiased; a channel whose mean or variance is not
// finite leaves them as they are, as the optimiser leaves the weights. Without: the running ones.
// mean and rstd are written for the backward passes.
struct BatchNormApply {
  View x, sums, running_mean, running_var, w, b, residual, y, mean, rstd;
  double count = 0, eps = 1e-5, momentum = 0.1;
  bool update_running = false, relu = false;
  auto views() const { return std::array{&x, &sums, &running_mean, &running_var, &w, &b, &residual, &y, &mean, &rstd}; }
};

// g = dy where the output was positive, or everywhere without relu. sums [2,C] f64: Σg and Σ g·(x − mean)·rstd over
// this rank. With relu the sign is y's where y is given, else it is computed again from x (no residual then): one
// tensor less to read. g, when given, is written (for the residual and the next pass); it may be dy's memory. dw and
// db, the gradients of w and b of this rank, are the sums in w's dtype; absent ones are skipped.
struct BatchNormBwdStats {
  View x, y, dy, mean, rstd, w, b, g, sums, dw, db;
  bool relu = false;
  auto views() const { return std::array{&x, &y, &dy, &mean, &rstd, &w, &b, &g, &sums, &dw, &db}; }
};

// dx = w · rstd · (g − sums[0]/count − x̂ · sums[1]/count), sums and count over all ranks; with fixed statistics
// (evaluation, frozen) dx = w · rstd · g. With relu, g is dy and is masked here by the sign computed from x, w and b;
// without, it is taken as it is. dx may be g's memory.
struct BatchNormBwdApply {
  View x, g, mean, rstd, w, b, sums, dx;
  double count = 0;
  bool fixed_statistics = false, relu = false;
  auto views() const { return std::array{&x, &g, &mean, &rstd, &w, &b, &sums, &dx}; }
};

}  // namespace spn::kernels
