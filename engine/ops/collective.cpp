// Collectives on the tape. The backward runs on every rank in the same order, as the forward did.
#include "engine/ops/collective.h"

namespace spn::ops {

namespace {

Tensor gathered(const Tensor& x, dist::Comm& comm) {
  Shape shape = x.shape();
  shape[0] *= comm.size();
  const Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  comm.all_gather(x.contiguous(), y);
  return y;
}

Tensor scattered(const Tensor& x, dist::Comm& comm) {
  Shape shape = x.shape();
  shape[0] /= comm.size();
  const Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  comm.reduce_scatter(x.contiguous(), y);
  return y;
}

Tensor summed(const Tensor& x, dist::Comm& comm) {
  const Tensor y = x.is_contiguous() ? x.clone() : x.contiguous();
  comm.all_reduce(y);
  return y;
}

void check_rows(const char* op, const Var& x) { check(x.ndim() >= 1, op, "expected x [n, ...], got a scalar"); }

}  // namespace

Var all_gather(const Var& x, dist::Comm& comm) {
  check_rows("all_gather", x);
  if (comm.size() == 1) return x;
  return record("all_gather", gathered(x.value(), comm), {x},
                [&comm](const Tensor& dy, Grads& g) { g.set(0, scattered(dy, comm)); });
}

Var reduce_scatter(const Var& x, dist::Comm& comm) {
  check_rows("reduce_scatter", x);
  check(x.dim(0) % comm.size() == 0, "reduce_scatter", "expected rows in a multiple of {} ranks, got {}", comm.size(),
        x.shape().str());
  if (comm.size() == 1) return x;
  return record("reduce_scatter", scattered(x.value(), comm), {x},
                [&comm](const Tensor& dy, Grads& g) { g.set(0, gathered(dy, comm)); });
}

Var all_reduce_sum(const Var& x, dist::Comm& comm) {
  if (comm.size() == 1) return x;
  return record("all_reduce_sum", summed(x.value(), comm), {x},
                [&comm](const Tensor& dy, Grads& g) { g.set(0, summed(dy, comm)); });
}

}  // namespace spn::ops
