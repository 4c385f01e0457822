// Cross-entropy of rows of logits.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// logits [n, classes], target i64 [n] -> losses [n] (not averaged).
Var cross_entropy(const Var& logits, const Tensor& target);

}  // namespace spn::ops
