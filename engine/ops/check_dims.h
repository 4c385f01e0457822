// Shape rules with messages that explain.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// check_dims("layer_norm", "w", w, {x.dim(-1)}); -1 in want: any extent.
inline void check_dims(const char* op, const char* what, const Var& v, const Shape& want) {
  bool ok = v && v.ndim() == want.ndim();
  for (int i = 0; ok && i < want.ndim(); ++i) ok = want[i] == -1 || want[i] == v.dim(i);
  check(ok, op, "expected {} of shape {}, got {}", what, want.str(), v ? v.shape().str() : "nothing");
}

inline void check_same_dtype(const char* op, const Var& a, const Var& b) {
  check(a.dtype() == b.dtype(), op, "expected one dtype, got {} and {}; cast one of them", name_of(a.dtype()),
        name_of(b.dtype()));
}

// A parameter's dtype is its input's, or fp32 beside bf16: the master weight, which the op rounds for its products and
// whose gradient stays fp32.
inline void check_parameter_dtype(const char* op, const char* what, const Var& p, const Var& x) {
  check(p.dtype() == x.dtype() || (x.dtype() == DType::bf16 && p.dtype() == DType::f32), op,
        "expected {} in {} (or f32 beside bf16), got {}; cast one of them", what, name_of(x.dtype()),
        name_of(p.dtype()));
}

}  // namespace spn::ops
