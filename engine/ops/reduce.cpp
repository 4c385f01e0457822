// Sums and means.
#include "engine/ops/reduce.h"

#include "kernels/table.h"

namespace spn::ops {

using kernels::ReduceKind;
using kernels::run;
using kernels::Table;

namespace {

Var reduce(const char* name, ReduceKind kind, const Var& x, const std::vector<int>& dims, bool keepdim) {
  Shape kept = x.shape(), dropped;
  std::vector<bool> over(static_cast<std::size_t>(x.ndim()), false);
  for (int dim : dims) {
    const int d = dim < 0 ? dim + x.ndim() : dim;
    check(d >= 0 && d < x.ndim() && !over[static_cast<std::size_t>(d)], name, "expected distinct dims of {}, got {}",
          x.shape().str(), dim);
    over[static_cast<std::size_t>(d)] = true;
    kept[d] = 1;
  }
  for (int d = 0; d < x.ndim(); ++d)
    if (!over[static_cast<std::size_t>(d)]) dropped.push_back(x.dim(d));
  const Tensor y = Tensor::empty(kept, x.dtype(), x.value().device());
  run<&Table::reduce>({.kind = kind, .x = x, .y = y});
  return record(
      name, keepdim ? y : y.reshape(dropped), {x}, [kind, kept, from = x.shape()](const Tensor& dy, Grads& g) {
        Tensor d = dy.reshape(kept);
        if (kind == ReduceKind::mean) {
          const Tensor mean = Tensor::empty(kept, d.dtype(), d.device());
          const auto terms =
              static_cast<double>(from.numel()) / static_cast<double>(std::max<std::int64_t>(1, kept.numel()));
          run<&Table::affine>({.mul = 1.0 / terms, .x = d, .y = mean});
          d = mean;
        }
        g.set(0, d.expand(from));
      });
}

std::vector<int> every_dim(const Var& x) {
  std::vector<int> dims;
  for (int d = 0; d < x.ndim(); ++d) dims.push_back(d);
  return dims;
}

}  // namespace

Var sum(const Var& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce("sum", ReduceKind::sum, x, dims, keepdim);
}
Var mean(const Var& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce("mean", ReduceKind::mean, x, dims, keepdim);
}
Var sum(const Var& x) { return reduce("sum", ReduceKind::sum, x, every_dim(x), false); }
Var mean(const Var& x) { return reduce("mean", ReduceKind::mean, x, every_dim(x), false); }

}  // namespace spn::ops
