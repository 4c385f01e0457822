// Row-wise normalisations: layer norm, softmax, L2.
#include "engine/ops/norm.h"

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

namespace {

Tensor rows_of(const Tensor& x) {
  return Tensor::empty({x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1)}, x.dtype() == DType::f64 ? DType::f64 : DType::f32,
                       x.device());
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
  check_dims("layer_norm", "w", w, {x.dim(-1)});
  check_dims("layer_norm", "b", b, {x.dim(-1)});
  check_parameter_dtype("layer_norm", "w", w, x);
  check_same_dtype("layer_norm", w, b);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device()), mean = rows_of(in), rstd = rows_of(in);
  run<&Table::layer_norm_fwd>({.x = in, .w = w, .b = b, .y = y, .mean = mean, .rstd = rstd, .eps = eps});
  return record("layer_norm", y, {x, w, b}, [in, w = w.value(), mean, rstd](const Tensor& dy, Grads& g) {
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
