// Row-wise normalisations over the last dim.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// x [..., n], w and b [n] of x's dtype, or fp32 beside bf16.
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps);
Var softmax(const Var& x);
Var log_softmax(const Var& x);
// Rows of length 1: x / max(‖x‖, eps).
Var l2_normalise(const Var& x, double eps = 1e-12);

}  // namespace spn::ops
