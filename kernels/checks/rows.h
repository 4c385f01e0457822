// What row-wise kernels ask of their arguments, the same on every device.
#pragma once

#include <initializer_list>

#include "engine/core/view.h"
#include "kernels/args/norm.h"

namespace spn::kernels {

// Softmax and cross-entropy: contiguous rows of one shape.
inline void check_same_rows(const char* where, const View& x, const View& y) {
  check(x.ndim() >= 1 && x.shape == y.shape && x.is_contiguous() && y.is_contiguous(), where,
        "expected contiguous rows of one shape, got {} and {}", x.shape.str(), y.shape.str());
}

// Cross-entropy: logits and a target a row. Values are each device's to look at.
inline void check_targets(const View& x, const View& target) {
  check(x.ndim() == 2 && x.is_contiguous() && target.ndim() == 1 && target.dim(0) == x.dim(0) && target.is_contiguous(),
        "cross_entropy", "expected contiguous logits [n, classes] and target [n], got {} and {}", x.shape.str(),
        target.shape.str());
}

// L2 normalisation: rows, and a norm for each.
inline void check_normed_rows(const View& x, const View& other, const View& rnorm) {
  check_same_rows("l2_normalise", x, other);
  check(x.numel() == 0 || rnorm.numel() == x.numel() / x.dim(-1), "l2_normalise", "expected a norm a row of {}, got {}",
        x.shape.str(), rnorm.shape.str());
}

// Layer norm. Vectors in one piece: the kernels index w, b and the statistics directly. Absent views are fine.
inline void check_layer_norm(const View& x, std::initializer_list<const View*> same,
                             std::initializer_list<const View*> vectors) {
  check(x.ndim() >= 1 && x.is_contiguous(), "layer_norm", "expected contiguous rows, got {} with strides {}",
        x.shape.str(), x.strides.str());
  for (const View* v : same)
    check(!*v || (v->shape == x.shape && v->is_contiguous()), "layer_norm", "expected a contiguous {}, got {}",
          x.shape.str(), v->shape.str());
  for (const View* v : vectors)
    check(!*v || (v->ndim() == 1 && v->dim(0) == x.dim(-1) && v->is_contiguous()), "layer_norm",
          "expected a contiguous [{}], got {} with strides {}", x.dim(-1), v->shape.str(), v->strides.str());
}
// What is added to the rows before. No rows have no addresses.
inline void check_added_branch(const LayerNormFwd& a) {
  check(a.x.numel() == 0 || (!a.branch == !a.sum && (a.branch || !a.gate)), "layer_norm",
        "expected a branch and its sum, or neither and no gate, got {}", a.branch ? "no sum" : "no branch");
  check(a.x.numel() == 0 || a.y || a.sum, "layer_norm", "expected y, a sum or both, got neither");
  check(a.x.numel() == 0 || !a.y || (a.w && a.b && a.mean && a.rstd), "layer_norm",
        "expected w, b, mean and rstd where y is wanted");
  check_layer_norm(a.x, {&a.branch, &a.sum}, {&a.gate});
}
// f(element of the rows, element of the parameters): parameters are of the rows' dtype, or f32 beside bf16 rows.
template <class F>
void visit_layer_norm(DType rows, DType parameters, F&& f) {
  if (rows == DType::bf16 && parameters == DType::f32) return f(bf16{}, float{});
  check(rows == parameters, "layer_norm", "expected parameters in {} (or f32 beside bf16), got {}", name_of(rows),
        name_of(parameters));
  visit_float(rows, "layer_norm", [&](auto e) { f(e, e); });
}

}  // namespace spn::kernels
