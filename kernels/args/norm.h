// Row-wise kernels over the last dim: layer norm, softmax, L2 normalisation, cross-entropy. Contiguous rows.
#pragma once

#include <array>

#include "engine/core/view.h"

namespace spn::kernels {

// y = (x − mean) / sqrt(var + eps) · w + b; mean and rstd [rows] fp32 (f64 for f64) are saved for the backward. w and b
// have x's dtype, or are fp32 beside bf16; dw and db as they. With branch (as x), what is normalised is
// sum = x + gate ⊙ branch, rounded and written; gate [n] in x's dtype, absent: 1. y absent (w, b, mean and rstd too):
// the sum alone, in the same arithmetic.
struct LayerNormFwd {
  View x, w, b, y, mean, rstd;
  double eps = 1e-5;
  View branch, gate, sum;
  auto views() const { return std::array{&x, &w, &b, &y, &mean, &rstd, &branch, &gate, &sum}; }
};
struct LayerNormBwd {
  View x, w, mean, rstd, dy, dx, dw, db;
  auto views() const { return std::array{&x, &w, &mean, &rstd, &dy, &dx, &dw, &db}; }
};

// y = softmax(x) or, with log, log softmax(x).
struct SoftmaxFwd {
  View x, y;
  bool log = false;
  auto views() const { return std::array{&x, &y}; }
};
struct SoftmaxBwd {
  View y, dy, dx;
  bool log = false;
  auto views() const { return std::array{&y, &dy, &dx}; }
};

// y = x / max(‖x‖, eps); rnorm [rows] = 1 / max(‖x‖, eps).
struct L2NormFwd {
  View x, y, rnorm;
  double eps = 1e-12;
  auto views() const { return std::array{&x, &y, &rnorm}; }
};
// dx = rnorm · (dy − y (y·dy)); where ‖x‖ < eps, dx = rnorm · dy.
struct L2NormBwd {
  View y, rnorm, dy, dx;
  double eps = 1e-12;
  auto views() const { return std::array{&y, &rnorm, &dy, &dx}; }
};

// loss[i] = logsumexp(x[i,:]) − x[i, target[i]]; target i64 [rows]; lse [rows] is saved. A target that is no class
// throws on the CPU; CUDA kernels are queued before anybody has read it and give NaN, forward and backward.
struct CrossEntropyFwd {
  View x, target, loss, lse;
  auto views() const { return std::array{&x, &target, &loss, &lse}; }
};
// dx[i,j] = dloss[i] · (exp(x[i,j] − lse[i]) − [j = target[i]]).
struct CrossEntropyBwd {
  View x, target, lse, dloss, dx;
  auto views() const { return std::array{&x, &target, &lse, &dloss, &dx}; }
};

}  // namespace spn::kernels
