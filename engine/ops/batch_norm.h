// Batch normalisation with statistics over the global batch, ReLU and residual fused.
#pragma once

#include <vector>

#include "engine/autograd/var.h"

namespace spn::dist {
class Comm;
}

namespace spn::ops {

// Sums over the ranks' batches, in the order of layers: kept by a part's first pass for its second (activation
// checkpointing), which then neither reads x for them nor asks the other ranks again.
struct BatchSums {
  std::vector<Tensor> kept;
  std::size_t next = 0;
};

struct BatchNorm {
  double eps = 1e-5, momentum = 0.1;
  // true: statistics of the batch (of all ranks of comm when given), running ones updated (unbiased variance, PyTorch's
  // rule) unless update_running is false; false: the running ones.
  bool training = true;
  bool update_running = true;
  dist::Comm* comm = nullptr;  // null or one rank: this rank's batch alone. One all-reduce forward, one backward.
  bool relu = false;
  BatchSums* sums = nullptr;  // with again: taken from there, else kept there; null: neither
  bool again = false;
};

// x [N,C,H,W] (result channels-last) or [N,C]; w, b, running_mean, running_var [C]. Every rank has the same N.
// y = relu?(x̂ · w + b + residual); residual has x's shape or is absent.
Var batch_norm(const Var& x, const Var& w, const Var& b, const Tensor& running_mean, const Tensor& running_var,
               const BatchNorm& options, const Var& residual = {});

}  // namespace spn::ops
