// Dropout. The mask is never stored: forward and backward draw it again.
#include "engine/ops/dropout.h"

#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

Var dropout(const Var& x, const DropoutKey& key) {
  check(key.p >= 0 && key.p < 1, "dropout", "expected a probability in [0, 1), got {}", key.p);
  if (key.p == 0) return x;
  check(x.ndim() >= 1, "dropout", "expected x [samples, ...], got a scalar");
  const Tensor in = x.value().contiguous(), y = Tensor::empty(in.shape(), in.dtype(), in.device());
  run<&Table::dropout>({.key = key, .x = in, .y = y});
  return record("dropout", y, {x}, [key](const Tensor& dy, Grads& g) {
    run<&Table::dropout>({.key = key, .x = dy.contiguous(), .y = g.contiguous(0)});
  });
}

}  // namespace spn::ops
