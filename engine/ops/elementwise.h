// Elementwise ops with NumPy broadcasting. All operands share one floating dtype.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var div(const Var& a, const Var& b);
// mul · x + add.
Var affine(const Var& x, double mul, double add = 0);
Var neg(const Var& x);
Var exp(const Var& x);
Var log(const Var& x);
Var sqrt(const Var& x);
Var square(const Var& x);
Var relu(const Var& x);
Var gelu(const Var& x);  // exact: x · Φ(x)
Var tanh(const Var& x);
Var sigmoid(const Var& x);
// min(x, limit): no gradient where x > limit.
Var clamp_max(const Var& x, double limit);
// Converts between floating dtypes; the gradient is converted back.
Var cast(const Var& x, DType dtype);

}  // namespace spn::ops
