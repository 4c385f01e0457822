// Attention ops: heads are views of rows, so nothing is transposed or copied.
#include "engine/ops/attention.h"

#include <cmath>

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

namespace {

// [B,T,n·H·Dh] -> block `part` of n as [B,H,T,Dh], a view of t's memory.
View head_view(const View& t, int part, int parts, std::int64_t heads) {
  if (!t) return {};
  const std::int64_t width = t.dim(2) / parts / heads;
  View v = t;
  v.shape = {t.dim(0), heads, t.dim(1), width};
  v.strides = {t.strides[0], width, t.strides[1], 1};
  v.data = static_cast<std::byte*>(t.data) + static_cast<std::size_t>(part * heads * width) * size_of(t.dtype);
  return v;
}

// Unit stride in the last dim is all the kernel needs.
Tensor unit_rows(const Tensor& t) { return t.dim(2) <= 1 || t.strides()[2] == 1 ? t : t.contiguous(); }

void check_key(const DropoutKey& key) {
  check(key.p >= 0 && key.p < 1, "attention", "expected a dropout probability in [0, 1), got {}", key.p);
}

Tensor lse_for(const Tensor& q, std::int64_t heads) {
  return Tensor::empty({q.dim(0), heads, q.dim(1)}, q.dtype() == DType::f64 ? DType::f64 : DType::f32, q.device());
}

double scale_of(std::int64_t width) { return width == 0 ? 1.0 : 1.0 / std::sqrt(static_cast<double>(width)); }

}  // namespace

Var self_attention(const Var& qkv, int heads, const DropoutKey& dropout) {
  check(qkv.ndim() == 3 && heads > 0 && qkv.dim(2) % (3 * heads) == 0, "self_attention",
        "expected qkv [B, T, 3·H·Dh] with H = {}, got {}", heads, qkv.shape().str());
  check_key(dropout);
  const Tensor in = unit_rows(qkv.value());
  const std::int64_t inner = in.dim(2) / 3;
  const double scale = scale_of(inner / heads);
  const Tensor o = Tensor::empty({in.dim(0), in.dim(1), inner}, in.dtype(), in.device()), lse = lse_for(in, heads);
  run<&Table::attention_fwd>({.q = head_view(in, 0, 3, heads),
                              .k = head_view(in, 1, 3, heads),
                              .v = head_view(in, 2, 3, heads),
                              .o = head_view(o, 0, 1, heads),
                              .lse = lse,
                              .scale = scale,
                              .dropout = dropout});
  return record("self_attention", o, {qkv}, [in, o, lse, heads, scale, dropout](const Tensor& dy, Grads& g) {
    const View d = g.contiguous(0);
    const Tensor d_o = unit_rows(dy);
    run<&Table::attention_bwd>({.q = head_view(in, 0, 3, heads),
                                .k = head_view(in, 1, 3, heads),
                                .v = head_view(in, 2, 3, heads),
                                .o = head_view(o, 0, 1, heads),
                                .lse = lse,
                                .d_o = head_view(d_o, 0, 1, heads),
                                .dq = head_view(d, 0, 3, heads),
                                .dk = head_view(d, 1, 3, heads),
                                .dv = head_view(d, 2, 3, heads),
                                .scale = scale,
                                .dropout = dropout});
  });
}

Var cross_attention(const Var& q, const Var& k, const Var& v, int heads, const DropoutKey& dropout) {
  check(q.ndim() == 3 && heads > 0 && q.dim(2) % heads == 0, "cross_attention",
        "expected q [B, Tq, H·Dh] with H = {}, got {}", heads, q.shape().str());
  check_dims("cross_attention", "k", k, {q.dim(0), -1, q.dim(2)});
  check_dims("cross_attention", "v", v, k.shape());
  check_same_dtype("cross_attention", q, k);
  check_same_dtype("cross_attention", q, v);
  check_key(dropout);
  const Tensor qi = unit_rows(q.value()), ki = unit_rows(k.value()), vi = unit_rows(v.value());
  const double scale = scale_of(q.dim(2) / heads);
  const Tensor o = Tensor::empty(qi.shape(), qi.dtype(), qi.device()), lse = lse_for(qi, heads);
  run<&Table::attention_fwd>({.q = head_view(qi, 0, 1, heads),
                              .k = head_view(ki, 0, 1, heads),
                              .v = head_view(vi, 0, 1, heads),
                              .o = head_view(o, 0, 1, heads),
                              .lse = lse,
                              .scale = scale,
                              .dropout = dropout});
  return record("cross_attention", o, {q, k, v},
                [qi, ki, vi, o, lse, heads, scale, dropout](const Tensor& dy, Grads& g) {
                  const Tensor d_o = unit_rows(dy);
                  run<&Table::attention_bwd>({.q = head_view(qi, 0, 1, heads),
                                              .k = head_view(ki, 0, 1, heads),
                                              .v = head_view(vi, 0, 1, heads),
                                              .o = head_view(o, 0, 1, heads),
                                              .lse = lse,
                                              .d_o = head_view(d_o, 0, 1, heads),
                                              .dq = head_view(g.contiguous(0), 0, 1, heads),
                                              .dk = head_view(g.contiguous(1), 0, 1, heads),
                                              .dv = head_view(g.contiguous(2), 0, 1, heads),
                                              .scale = scale,
                                              .dropout = dropout});
                });
}

}  // namespace spn::ops
