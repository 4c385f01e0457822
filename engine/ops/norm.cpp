// Row-wise normalisations: layer norm, softmax, L2.
#include "engine/ops/norm.h"

#include "engine/ops/broadcast.h"
#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::BinaryOp;
using kernels::run;
using kernels::Table;

namespace {

Tensor rows_of(const Tensor& x) {
  return Tensor::empty({x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1)}, x.dtype() == DType::f64 ? DType::f64 : DType::f32,
                       x.device());
}

void check_layer_norm(const char* op, const Var& x, const Var& w, const Var& b) {
  check_dims(op, "w", w, {x.dim(-1)});
  check_dims(op, "b", b, {x.dim(-1)});
  check_parameter_dtype(op, "w", w, x);
  check_same_dtype(op, w, b);
}
void check_branch(const char* op, const Var& x, const Var& branch, const Var& gate) {
  check_dims(op, "branch", branch, x.shape());
  check_same_dtype(op, x, branch);
  if (!gate) return;
  check_dims(op, "gate", gate, {x.dim(-1)});
  check_parameter_dtype(op, "gate", gate, x);
}

// in: the value of x, contiguous.
Var record_layer_norm(Tensor y, const Var& x, const Tensor& in, const Var& w, const Var& b, const Tensor& mean,
                      const Tensor& rstd) {
  return record("layer_norm", std::move(y), {x, w, b}, [in, w = w.value(), mean, rstd](const Tensor& dy, Grads& g) {
    run<&Table::layer_norm_bwd>({.x = in,
                                 .w = w,
                                 .mean = mean,
                                 .rstd = rstd,
                                 .dy = dy.contiguous(),
                                 .dx = g.contiguous(0),
                                 .dw = g[1],
                                 .db = g[2]});
  });
}

// x + by ⊙ branch, computed already; by: the gate as it was multiplied, in x's dtype. The branch is kept only for a
// gate that learns.
Var record_sum(Tensor sum, const Var& x, const Var& branch, const Var& gate, const Tensor& by) {
  if (!gate)
    return record("add_branch", std::move(sum), {x, branch}, [](const Tensor& dy, Grads& g) {
      g.set(0, dy);
      g.set(1, dy);
    });
  const Tensor kept = gate.requires_grad() ? branch.value() : Tensor();
  return record("add_branch", std::move(sum), {x, branch, gate},
                [kept, by, gate_dtype = gate.dtype()](const Tensor& dy, Grads& g) {
                  g.set(0, dy);
                  if (g.wants(1)) g.set(1, apply(BinaryOp::mul, dy, by, "add_branch"));
                  if (g.wants(2))
                    g.set(2, sum_to(apply(BinaryOp::mul, dy, kept, "add_branch"), by.shape(), gate_dtype));
                });
}

Var any_softmax(const Var& x, bool log) {
  check(x.ndim() >= 1, "softmax", "expected at least one dim, got a scalar");
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
  run<&Table::softmax_fwd>({.x = in, .y = y, .log = log});
  return record("softmax", y, {x}, [y, log](const Tensor& dy, Grads& g) {
    run<&Table::softmax_bwd>({.y = y, .dy = dy.contiguous(), .dx = g.contiguous(0), .log = log});
  });
}

}  // namespace

Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  check_layer_norm("layer_norm", x, w, b);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device()), mean = rows_of(in), rstd = rows_of(in);
  run<&Table::layer_norm_fwd>({.x = in, .w = w, .b = b, .y = y, .mean = mean, .rstd = rstd, .eps = eps});
  return record_layer_norm(y, x, in, w, b, mean, rstd);
}

AddedNorm add_layer_norm(const Var& x, const Var& branch, const Var& gate, const Var& w, const Var& b, double eps) {
  check_layer_norm("add_layer_norm", x, w, b);
  check_branch("add_layer_norm", x, branch, gate);
  const Tensor in = x.value().contiguous(), other = branch.value().contiguous();
  const Tensor by = gate ? gate.value_as(in.dtype()) : Tensor();
  Tensor sum = Tensor::empty(in.shape(), in.dtype(), in.device());
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device()), mean = rows_of(in), rstd = rows_of(in);
  run<&Table::layer_norm_fwd>({.x = in,
                               .w = w,
                               .b = b,
                               .y = y,
                               .mean = mean,
                               .rstd = rstd,
                               .eps = eps,
                               .branch = other,
                               .gate = by,
                               .sum = sum});
  const Var added = record_sum(sum, x, branch, gate, by);
  return {added, record_layer_norm(y, added, sum, w, b, mean, rstd)};
}

Var add_branch(const Var& x, const Var& branch, const Var& gate) {
  check_branch("add_branch", x, branch, gate);
  const Tensor in = x.value().contiguous(), other = branch.value().contiguous();
  const Tensor by = gate ? gate.value_as(in.dtype()) : Tensor();
  Tensor sum = Tensor::empty(in.shape(), in.dtype(), in.device());
  run<&Table::layer_norm_fwd>({.x = in, .branch = other, .gate = by, .sum = sum});
  return record_sum(sum, x, branch, gate, by);
}

Var softmax(const Var& x) { return any_softmax(x, false); }
Var log_softmax(const Var& x) { return any_softmax(x, true); }

Var l2_normalise(const Var& x, double eps) {
  check(x.ndim() >= 1, "l2_normalise", "expected at least one dim, got a scalar");
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device()), rnorm = rows_of(in);
  run<&Table::l2_norm_fwd>({.x = in, .y = y, .rnorm = rnorm, .eps = eps});
  return record("l2_normalise", y, {x}, [y, rnorm, eps](const Tensor& dy, Grads& g) {
    run<&Table::l2_norm_bwd>({.y = y, .rnorm = rnorm, .dy = dy.contiguous(), .dx = g.contiguous(0), .eps = eps});
  });
}

}  // namespace spn::ops
