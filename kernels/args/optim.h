// Optimiser updates over many tensors in one call.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/core/view.h"

namespace spn::kernels {

// What changes from step to step, read by the kernel when it runs: a captured step is replayed with new values.
struct UpdateRates {
  View rates;           // f64 [2]: learning rate, weight decay
  View updates;         // f64 [1]: how many there were; this one is added by the kernel, unless it changes nothing
  View squares;         // f64 [1]: Σ g² of all gradients. Not finite: the update changes nothing
  double max_norm = 0;  // gradients are multiplied by min(1, max_norm / (sqrt(squares) + 1e-6)); 0: by 1
};

// One parameter: w, its gradient and its state, all contiguous and of equal shape; copy: absent, or beside w in f32 the
// new w rounded to bf16.
struct AdamWParam {
  View w, grad, m, v, copy;
  double decay_scale = 1, lr_scale = 1;  // of the weight decay and of the learning rate
};

// Decoupled weight decay (Loshchilov & Hutter 2019), bias-corrected, in PyTorch's order of operations:
// w −= lr·wd·w; m, v updated; w −= lr/(1−β1^t) · m / (sqrt(v)/sqrt(1−β2^t) + eps).
struct AdamW {
  std::span<const AdamWParam> params;
  UpdateRates update;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::array<const View*, 7> views() const {
    if (params.empty()) return {&update.rates, &update.updates, &update.squares};
    return {&params[0].w, &params[0].grad, &params[0].m, &params[0].v, &update.rates, &update.updates, &update.squares};
  }
};

struct SgdParam {
  View w, grad, momentum;
  double decay_scale = 1, lr_scale = 1;
};

// PyTorch's SGD: g += wd·w; buf = momentum·buf + g (buf = g at the first update); w −= lr·buf.
struct Sgd {
  std::span<const SgdParam> params;
  UpdateRates update;
  double momentum = 0.9;
  std::array<const View*, 6> views() const {
    if (params.empty()) return {&update.rates, &update.updates, &update.squares};
    return {&params[0].w, &params[0].grad, &params[0].momentum, &update.rates, &update.updates, &update.squares};
  }
};

// y += weight · (x − y): contiguous, of equal shape and dtype.
struct LerpPair {
  View y, x;
};
struct Lerp {
  std::span<const LerpPair> pairs;
  double weight = 0;  // in [0, 1]
  View squares;       // f64 [1] or absent: as UpdateRates'. Not finite: nothing changes
  std::array<const View*, 3> views() const {
    if (pairs.empty()) return {};
    return {&pairs[0].y, &pairs[0].x, &squares};
  }
};

// out [1] f64 = Σ x² over all views.
struct SumOfSquares {
  std::span<const View> x;
  View out;
  std::array<const View*, 2> views() const { return {x.empty() ? nullptr : &x[0], &out}; }
};

}  // namespace spn::kernels
