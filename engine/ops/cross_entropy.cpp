// Cross-entropy of rows of logits.
#include "engine/ops/cross_entropy.h"

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

Var cross_entropy(const Var& logits, const Tensor& target) {
  check_dims("cross_entropy", "logits", logits, {-1, -1});
  check(target && target.dtype() == DType::i64 && target.shape() == Shape{logits.dim(0)}, "cross_entropy",
        "expected target i64 [{}], got {} {}", logits.dim(0), target ? name_of(target.dtype()) : "nothing",
        target ? target.shape().str() : "");
  const Tensor in = logits.value().contiguous(), t = target.contiguous();
  const DType stats = in.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor loss = Tensor::empty({in.dim(0)}, in.dtype(), in.device()),
               lse = Tensor::empty({in.dim(0)}, stats, in.device());
  run<&Table::cross_entropy_fwd>({.x = in, .target = t, .loss = loss, .lse = lse});
  return record("cross_entropy", loss, {logits}, [in, t, lse](const Tensor& dy, Grads& g) {
    run<&Table::cross_entropy_bwd>({.x = in, .target = t, .lse = lse, .dloss = dy.contiguous(), .dx = g.contiguous(0)});
  });
}

}  // namespace spn::ops
