// Elementwise ops: maps, broadcasting arithmetic, casts.
#include "engine/ops/elementwise.h"

#include "engine/ops/broadcast.h"
#include "engine/ops/check_dims.h"

namespace spn::ops {

using kernels::BinaryOp;
using kernels::run;
using kernels::Table;
using kernels::UnaryOp;

namespace {

Var unary(const char* name, UnaryOp op, const Var& x) {
  check(is_floating(x.dtype()), name, "expected a floating dtype, got {}; cast first", name_of(x.dtype()));
  const Tensor& in = x.value();
  Tensor y = Tensor::empty_like(in);
  run<&Table::unary_fwd>({.op = op, .x = in, .y = y});
  return record(name, y, {x}, [op, in, y](const Tensor& dy, Grads& g) {
    run<&Table::unary_bwd>({.op = op, .x = in, .y = y, .dy = dy, .dx = g[0]});
  });
}

Tensor scaled(const Tensor& x, double mul, double add = 0) {
  Tensor y = Tensor::empty_like(x);
  run<&Table::affine>({.mul = mul, .add = add, .x = x, .y = y});
  return y;
}

void check_pair(const char* name, const Var& a, const Var& b) {
  check(a && b, name, "expected two operands, got {}", a ? "no second one" : "no first one");
  check_same_dtype(name, a, b);
  check(is_floating(a.dtype()), name, "expected a floating dtype, got {}; cast first", name_of(a.dtype()));
}

}  // namespace

Var add(const Var& a, const Var& b) {
  check_pair("add", a, b);
  return record("add", apply(BinaryOp::add, a.value(), b.value(), "add"), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Grads& g) {
                  if (g.wants(0)) g.set(0, sum_to(dy, sa));
                  if (g.wants(1)) g.set(1, sum_to(dy, sb));
                });
}

Var sub(const Var& a, const Var& b) {
  check_pair("sub", a, b);
  return record("sub", apply(BinaryOp::sub, a.value(), b.value(), "sub"), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Grads& g) {
                  if (g.wants(0)) g.set(0, sum_to(dy, sa));
                  if (g.wants(1)) g.set(1, scaled(sum_to(dy, sb), -1));
                });
}

Var mul(const Var& a, const Var& b) {
  check_pair("mul", a, b);
  return record("mul", apply(BinaryOp::mul, a.value(), b.value(), "mul"), {a, b},
                [a = a.value(), b = b.value()](const Tensor& dy, Grads& g) {
                  if (g.wants(0)) g.set(0, sum_to(apply(BinaryOp::mul, dy, b, "mul"), a.shape()));
                  if (g.wants(1)) g.set(1, sum_to(apply(BinaryOp::mul, dy, a, "mul"), b.shape()));
                });
}

Var div(const Var& a, const Var& b) {
  check_pair("div", a, b);
  const Tensor y = apply(BinaryOp::div, a.value(), b.value(), "div");
  return record("div", y, {a, b}, [y, b = b.value(), sa = a.shape()](const Tensor& dy, Grads& g) {
    const Tensor over_b = apply(BinaryOp::div, dy, b, "div");
    if (g.wants(0)) g.set(0, sum_to(over_b, sa));
    if (g.wants(1)) g.set(1, scaled(sum_to(apply(BinaryOp::mul, over_b, y, "div"), b.shape()), -1));
  });
}

Var affine(const Var& x, double mul, double add) {
  check(is_floating(x.dtype()), "affine", "expected a floating dtype, got {}; cast first", name_of(x.dtype()));
  return record("affine", scaled(x.value(), mul, add), {x},
                [mul](const Tensor& dy, Grads& g) { g.set(0, scaled(dy, mul)); });
}

Var neg(const Var& x) { return unary("neg", UnaryOp::neg, x); }
Var exp(const Var& x) { return unary("exp", UnaryOp::exp, x); }
Var log(const Var& x) { return unary("log", UnaryOp::log, x); }
Var sqrt(const Var& x) { return unary("sqrt", UnaryOp::sqrt, x); }
Var square(const Var& x) { return unary("square", UnaryOp::square, x); }
Var relu(const Var& x) { return unary("relu", UnaryOp::relu, x); }
Var gelu(const Var& x) { return unary("gelu", UnaryOp::gelu, x); }
Var tanh(const Var& x) { return unary("tanh", UnaryOp::tanh, x); }
Var sigmoid(const Var& x) { return unary("sigmoid", UnaryOp::sigmoid, x); }

Var clamp_max(const Var& x, double limit) {
  const Tensor& in = x.value();
  const Tensor bound = Tensor::full({}, limit, in.dtype(), in.device());
  return record("clamp_max", apply(BinaryOp::min, in, bound, "clamp_max"), {x},
                [in, limit](const Tensor& dy, Grads& g) {
                  // dy without what the excess x − limit, where positive, takes away: dy passes at x = limit.
                  const Tensor excess = scaled(in, 1, -limit), stopped = Tensor::empty_like(excess);
                  run<&Table::unary_bwd>({.op = UnaryOp::relu, .x = excess, .y = excess, .dy = dy, .dx = stopped});
                  g.set(0, apply(BinaryOp::sub, dy, stopped, "clamp_max"));
                });
}

Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  check(is_floating(x.dtype()) && is_floating(dtype), "cast", "expected floating dtypes, got {} to {}",
        name_of(x.dtype()), name_of(dtype));
  return record("cast", x.value_as(dtype), {x},
                [from = x.dtype()](const Tensor& dy, Grads& g) { g.set(0, dy.to(from)); });
}

}  // namespace spn::ops
