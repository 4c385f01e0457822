// Ops that move no numbers, or only copy them.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

Var reshape(const Var& x, const Shape& shape);  // one extent may be -1
Var transpose(const Var& x, int a, int b);
Var permute(const Var& x, std::initializer_list<int> order);
Var narrow(const Var& x, int dim, std::int64_t start, std::int64_t length);
Var select(const Var& x, int dim, std::int64_t index);
Var expand(const Var& x, const Shape& shape);
Var concat(const std::vector<Var>& parts, int dim);
Var contiguous(const Var& x);

}  // namespace spn::ops
