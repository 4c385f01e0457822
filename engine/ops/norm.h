// Row-wise normalisations over the last dim.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// x [..., n], w and b [n] of x's dtype, or fp32 beside bf16.
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps);
// sum = x + gate ⊙ branch and its layer norm, in one pass over memory: what a residual stream does before each block.
// x and branch [..., n] of one dtype; gate [n] of theirs, or fp32 beside bf16, which is rounded; absent: 1.
struct AddedNorm {
  Var sum, normed;
};
AddedNorm add_layer_norm(const Var& x, const Var& branch, const Var& gate, const Var& w, const Var& b, double eps);
// The sum alone, the same bits.
Var add_branch(const Var& x, const Var& branch, const Var& gate);
// Over the last dim; the maximum is taken off first.
Var softmax(const Var& x);
Var log_softmax(const Var& x);
// Rows of length 1: x / max(‖x‖, eps).
Var l2_normalise(const Var& x, double eps = 1e-12);

}  // namespace spn::ops
