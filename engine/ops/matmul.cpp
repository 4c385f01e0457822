// Matrix products: general, and the linear layer with its activation.
#include "engine/ops/matmul.h"

#include "engine/ops/broadcast.h"
#include "engine/ops/check_dims.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;
using kernels::UnaryOp;

namespace {

// [..., n] as rows; no copy for what is a matrix already.
Tensor rows(const Tensor& x) {
  if (x.ndim() == 2) return x;
  Shape lead = x.shape();
  lead[-1] = 1;
  return x.reshape({lead.numel(), x.dim(-1)});
}

Tensor product(const Tensor& a, const Tensor& b, const Shape& shape, DType into) {
  const Tensor c = Tensor::empty(shape, into, a.device());
  run<&Table::gemm>({.a = a, .b = b, .c = c});
  return c;
}
Tensor product(const Tensor& a, const Tensor& b, const Shape& shape) { return product(a, b, shape, a.dtype()); }

Shape batch_of(const Tensor& t) { return Shape(std::span(t.shape().begin(), static_cast<std::size_t>(t.ndim() - 2))); }

}  // namespace

Var matmul(const Var& a, const Var& b) {
  check(a.ndim() >= 2 && b.ndim() >= 2, "matmul", "expected at least two dims each, got {} and {}", a.shape().str(),
        b.shape().str());
  check_same_dtype("matmul", a, b);
  check(a.dim(-1) == b.dim(-2), "matmul", "expected [..., m, k] · [..., k, n], got {} and {}: k is {} and {}",
        a.shape().str(), b.shape().str(), a.dim(-1), b.dim(-2));
  const Tensor &av = a.value(), &bv = b.value();
  const Shape batch = broadcast_shape(batch_of(av), batch_of(bv), "matmul");
  const auto shaped = [batch](std::int64_t r, std::int64_t c) {
    Shape s = batch;
    s.push_back(r);
    s.push_back(c);
    return s;
  };
  const Tensor y = product(av, bv, shaped(a.dim(-2), b.dim(-1)));
  return record("matmul", y, {a, b}, [av, bv, shaped](const Tensor& dy, Grads& g) {
    const std::int64_t m = av.dim(-2), k = av.dim(-1), n = bv.dim(-1);
    if (g.wants(0)) g.set(0, sum_to(product(dy, bv.transpose(-1, -2), shaped(m, k)), av.shape()));
    if (!g.wants(1)) return;
    if (bv.ndim() == 2)  // one b for the whole batch: one product over all rows
      g.set(1, product(rows(av).transpose(0, 1), rows(dy), {k, n}));
    else
      g.set(1, sum_to(product(av.transpose(-1, -2), dy, shaped(k, n)), bv.shape()));
  });
}

Var linear(const Var& x, const Var& w, const Var& bias, Activation act) {
  check(x.ndim() >= 1 && (w.ndim() == 2 || (w.ndim() == 3 && w.dim(1) == 1)), "linear",
        "expected x [..., in] and w [out, in] (or [out, 1, in]), got {} and {}", x.shape().str(), w.shape().str());
  check(x.dim(-1) == w.dim(-1), "linear", "expected x [..., {}] for w {}, got {}", w.dim(-1), w.shape().str(),
        x.shape().str());
  check_parameter_dtype("linear", "w", w, x);
  if (bias) {
    check_dims("linear", "bias", bias, {w.dim(0)});
    check_same_dtype("linear", w, bias);
  }
  const Tensor& in = x.value();
  // rounded once: the backward uses the same
  const Tensor weight = w.value_as(x.dtype()).reshape({w.dim(0), w.dim(-1)});
  Shape shape = in.shape();
  shape[-1] = w.dim(0);
  const Tensor y = Tensor::empty(shape, in.dtype(), in.device());
  // The backward of GELU needs what went into it; without a backward the whole layer is one call.
  const bool recorded = grad_enabled() && (x.requires_grad() || w.requires_grad() || bias.requires_grad());
  const bool split = recorded && act == Activation::gelu;
  const Tensor before = split ? Tensor::empty_like(y) : y;
  const bool vector = in.ndim() == 1;
  run<&Table::gemm>({.a = vector ? in.unsqueeze(0) : in,
                     .b = weight.transpose(0, 1),
                     .c = vector ? before.unsqueeze(0) : before,
                     .bias = bias ? bias.value().contiguous() : Tensor(),
                     .act = split ? Activation::none : act});
  if (split) run<&Table::unary_fwd>({.op = UnaryOp::gelu, .x = before, .y = y});
  const Tensor kept = act == Activation::none ? Tensor() : before;
  return record("linear", y, {x, w, bias}, [in, weight, kept, act, master = w.dtype()](const Tensor& dy_any, Grads& g) {
    Tensor dy = dy_any.contiguous();
    if (act != Activation::none) {
      const Tensor masked = Tensor::empty_like(dy);
      const UnaryOp op = act == Activation::relu ? UnaryOp::relu : UnaryOp::gelu;
      run<&Table::unary_bwd>({.op = op, .x = kept, .y = kept, .dy = dy, .dx = masked});
      dy = masked;
    }
    const std::int64_t out = weight.dim(0), width = weight.dim(1);
    const Tensor d = rows(dy);
    if (g.wants(0)) g.set(0, product(d, weight, {d.dim(0), width}).reshape(in.shape()));
    if (!g.wants(1)) {
      if (g.wants(2)) g.set(2, sum_to(d, {out}, master));
      return;
    }
    View dw = g.contiguous(1);
    dw.shape = {out, width}, dw.strides = contiguous_strides(dw.shape);  // of [out,1,in] too
    run<&Table::gemm>({.a = d.transpose(0, 1), .b = rows(in), .c = dw, .sums = g.contiguous(2)});
  });
}

}  // namespace spn::ops
