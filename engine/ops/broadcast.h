// Broadcasting and its transpose, for op families.
#pragma once

#include "engine/tensor/tensor.h"
#include "kernels/table.h"

namespace spn::ops {

// Sums g over the dims along which a tensor of shape `to` was broadcast to g's shape. into: g's dtype, or fp32 for
// bf16.
inline Tensor sum_to(const Tensor& g, const Shape& to, DType into) {
  if (g.shape() == to) return g.to(into);
  Shape keep;
  for (int d = 0; d < g.ndim(); ++d) {
    const int own = d - (g.ndim() - to.ndim());
    keep.push_back(own < 0 ? 1 : to[own]);
  }
  Tensor y = Tensor::empty(keep, into, g.device());
  kernels::run<&kernels::Table::reduce>({.kind = kernels::ReduceKind::sum, .x = g, .y = y});
  return y.reshape(to);
}
inline Tensor sum_to(const Tensor& g, const Shape& to) { return sum_to(g, to, g.dtype()); }

inline Tensor apply(kernels::BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
  kernels::run<&kernels::Table::binary>({.op = op, .a = a.expand(y.shape()), .b = b.expand(y.shape()), .y = y});
  return y;
}

// A fresh result of the broadcast shape, in the layout of an operand that has that shape.
inline Tensor apply(kernels::BinaryOp op, const Tensor& a, const Tensor& b, const char* where) {
  const Shape shape = broadcast_shape(a.shape(), b.shape(), where);
  const Tensor y = a.shape() == shape   ? Tensor::empty_like(a)
                   : b.shape() == shape ? Tensor::empty_like(b)
                                        : Tensor::empty(shape, a.dtype(), a.device());
  return apply(op, a, b, y);
}

}  // namespace spn::ops
