// Ops that move no numbers: results share x's memory where strides allow it, unless a line says that it copies.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

Var reshape(const Var& x, const Shape& shape);  // one extent may be -1; copies where strides allow no view
Var transpose(const Var& x, int a, int b);
Var permute(const Var& x, std::initializer_list<int> order);
Var narrow(const Var& x, int dim, std::int64_t start, std::int64_t length);
Var select(const Var& x, int dim, std::int64_t index);  // narrow to one, and without the dim
Var expand(const Var& x, const Shape& shape);           // extents of 1 repeated, new ones in front
Var concat(const std::vector<Var>& parts, int dim);     // a copy; dim may be negative
Var contiguous(const Var& x);                           // a copy, unless x is

}  // namespace spn::ops
