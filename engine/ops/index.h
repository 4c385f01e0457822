// Rows by index.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// x [n, ...], index i64 [m] -> [m, ...]. The gradient adds up rows that were taken more than once.
Var gather_rows(const Var& x, const Tensor& index);

}  // namespace spn::ops
