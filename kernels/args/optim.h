// Optimiser updates over many tensors in one call.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/core/view.h"

namespace spn::kernels {

// One parameter: w, its gradient and its state, all contiguous and of equal shape.
struct AdamWParam {
  View w, grad, m, v;
  double weight_decay = 0, lr_scale = 1;
};

// Decoupled weight decay (Loshchilov & Hutter 2019), bias-corrected, in PyTorch's order of operations:
// w −= lr·wd·w; m, v updated; w −= lr/(1−β1^t) · m / (sqrt(v)/sqrt(1−β2^t) + eps). grad is multiplied by grad_scale.
struct AdamW {
  std::span<const AdamWParam> params;
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, grad_scale = 1;
  std::int64_t step = 1;  // t, from 1
  std::array<const View*, 4> views() const {
    if (params.empty()) return {};
    return {&params[0].w, &params[0].grad, &params[0].m, &params[0].v};
  }
};

struct SgdParam {
  View w, grad, momentum;
  double weight_decay = 0, lr_scale = 1;
};

// PyTorch's SGD: g += wd·w; buf = momentum·buf + g (buf = g at the first step); w −= lr·buf.
struct Sgd {
  std::span<const SgdParam> params;
  double lr = 0, momentum = 0.9, grad_scale = 1;
  bool first = false;
  std::array<const View*, 3> views() const {
    if (params.empty()) return {};
    return {&params[0].w, &params[0].grad, &params[0].momentum};
  }
};

// y += weight · (x − y): contiguous, of equal shape and dtype.
struct LerpPair {
  View y, x;
};
struct Lerp {
  std::span<const LerpPair> pairs;
  double weight = 0;  // in [0, 1]
  std::array<const View*, 2> views() const {
    if (pairs.empty()) return {};
    return {&pairs[0].y, &pairs[0].x};
  }
};

// out [1] f64 = Σ x² over all views.
struct SumOfSquares {
  std::span<const View> x;
  View out;
  std::array<const View*, 2> views() const { return {x.empty() ? nullptr : &x[0], &out}; }
};

}  // namespace spn::kernels
