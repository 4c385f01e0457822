// Rows by index.
#include "engine/ops/index.h"

#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

Var gather_rows(const Var& x, const Tensor& index) {
  check(x.ndim() >= 1, "gather_rows", "expected x [n, ...], got a scalar");
  check(index && index.dtype() == DType::i64 && index.ndim() == 1, "gather_rows",
        "expected an index i64 [m], got {} {}", index ? name_of(index.dtype()) : "nothing",
        index ? index.shape().str() : "");
  const Tensor in = x.value().contiguous(), at = index.contiguous();
  Shape shape = in.shape();
  shape[0] = at.dim(0);
  const Tensor y = Tensor::empty(shape, in.dtype(), in.device());
  run<&Table::gather_rows>({.x = in, .index = at, .y = y});
  return record("gather_rows", y, {x}, [at](const Tensor& dy, Grads& g) {
    run<&Table::scatter_add_rows>({.x = dy.contiguous(), .index = at, .y = g.contiguous(0)});
  });
}

}  // namespace spn::ops
