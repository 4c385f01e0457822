// Sums and means over dims.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// dims: distinct, negative ones count from the end; left out of the result's shape, or with keepdim of extent 1.
Var sum(const Var& x, std::initializer_list<int> dims, bool keepdim = false);
Var mean(const Var& x, std::initializer_list<int> dims, bool keepdim = false);
Var sum(const Var& x);  // over everything, to a scalar (shape [])
Var mean(const Var& x);

}  // namespace spn::ops
