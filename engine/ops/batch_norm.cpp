// Batch norm: statistics of the global batch (one all-reduce of 2·C doubles forward, one backward), ReLU and residual
// fused, so that forward is two passes over x and backward two.
#include "engine/ops/batch_norm.h"

#include "engine/dist/comm.h"
#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::run;
using kernels::Table;

namespace {

Tensor dense(const Tensor& t) { return t.ndim() == 4 ? t.channels_last() : t.contiguous(); }
bool is_dense(const Tensor& t) { return t.ndim() == 4 ? t.is_channels_last() : t.is_contiguous(); }
// Uninitialised, of x's shape, in the layout of the kernels.
Tensor like(const Tensor& x) {
  return x.ndim() == 4 ? Tensor::empty_channels_last(x.shape(), x.dtype(), x.device())
                       : Tensor::empty(x.shape(), x.dtype(), x.device());
}

void check_arguments(const Var& x, const Var& w, const Var& b, const Tensor& running_mean, const Tensor& running_var,
                     const BatchNorm& o, const Var& residual) {
  check(x && (x.ndim() == 4 || x.ndim() == 2), "batch_norm", "expected x [N,C,H,W] or [N,C], got {}",
        x ? x.shape().str() : "nothing");
  const Shape per_channel{x.dim(1)};
  const DType compute = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  check_dims("batch_norm", "w", w, per_channel);
  check_dims("batch_norm", "b", b, per_channel);
  const auto check_dtype = [&](const char* what, DType got) {
    check(got == compute, "batch_norm", "expected {} in {} for x in {}, got {}", what, name_of(compute),
          name_of(x.dtype()), name_of(got));
  };
  check_dtype("w", w.dtype());
  check_dtype("b", b.dtype());
  if (!o.training || o.update_running) {
    for (const Tensor* t : {&running_mean, &running_var}) {
      check(*t && t->shape() == per_channel, "batch_norm",
            "expected running statistics of shape {}, got {}; without them set training and not update_running",
            per_channel.str(), *t ? t->shape().str() : "nothing");
      check_dtype("running statistics", t->dtype());
    }
  }
  if (residual) {
    check_dims("batch_norm", "residual", residual, x.shape());
    check_same_dtype("batch_norm", x, residual);
  }
}

}  // namespace

Var batch_norm(const Var& x, const Var& w, const Var& b, const Tensor& running_mean, const Tensor& running_var,
               const BatchNorm& o, const Var& residual) {
  check_arguments(x, w, b, running_mean, running_var, o, residual);
  const std::int64_t channels = x.dim(1);
  dist::Comm* comm = o.comm != nullptr && o.comm->size() > 1 ? o.comm : nullptr;
  const std::int64_t here = channels == 0 ? 0 : x.value().numel() / channels;
  const double count = static_cast<double>(here) * (comm != nullptr ? comm->size() : 1);
  const Tensor in = dense(x.value());
  const DType compute = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor y = like(in), mean = Tensor::empty({channels}, compute, in.device()), rstd = Tensor::empty_like(mean), sums;
  if (o.training && count > 0) {
    check(count > 1, "batch_norm", "expected more than one value per channel when training, got x {}; use evaluation",
          x.shape().str());
    if (o.sums != nullptr && o.again) {
      sums = o.sums->kept.at(o.sums->next++);
      check(sums.shape() == Shape({2, channels}), "batch_norm",
            "expected kept sums [2,{}], got {}; the second pass of a "
            "checkpointed part must be its first again",
            channels, sums.shape().str());
    } else {
      sums = Tensor::empty({2, channels}, DType::f64, in.device());
      run<&Table::batch_norm_stats>({.x = in, .sums = sums});
      if (comm != nullptr) comm->all_reduce(sums);
      if (o.sums != nullptr) o.sums->kept.push_back(sums);
    }
  }
  const Tensor res = residual ? dense(residual.value()) : Tensor();
  if (count > 0)
    run<&Table::batch_norm_apply>({.x = in,
                                   .sums = sums,
                                   .running_mean = running_mean,
                                   .running_var = running_var,
                                   .w = w,
                                   .b = b,
                                   .residual = res,
                                   .y = y,
                                   .mean = mean,
                                   .rstd = rstd,
                                   .count = count,
                                   .eps = o.eps,
                                   .momentum = o.momentum,
                                   .update_running = o.training && o.update_running,
                                   .relu = o.relu});
  // The kernels find ReLU's sign again from x, w and b: y itself is needed only with a residual.
  const Tensor kept = o.relu && residual ? y : Tensor();
  const bool relu = o.relu, fixed = !o.training, has_residual = static_cast<bool>(residual);
  return record("batch_norm", y, {x, w, b, residual},
                [=, w = w.value(), b = b.value()](const Tensor& dy_given, Grads& g) {
                  if (count == 0) {
                    for (std::size_t i = 0; i < 4; ++i)
                      if (g.wants(i)) g.set(i, Tensor::zeros_like(i == 0 || i == 3 ? in : w));
                    return;
                  }
                  // Nobody else sees dy's memory: results may go there, and stay in the cache.
                  const bool reuse = is_dense(dy_given) && dy_given.use_count() == 1;
                  Tensor dy = dense(dy_given);
                  const Tensor sums_of_g = Tensor::empty({2, channels}, DType::f64, in.device());
                  const bool write_g = relu && has_residual;
                  Tensor masked = !write_g ? Tensor() : reuse ? dy : like(in);
                  // w and b take this rank's share (the gradient reducer adds the others); x takes everybody's.
                  run<&Table::batch_norm_bwd_stats>({.x = in,
                                                     .y = kept,
                                                     .dy = dy,
                                                     .mean = mean,
                                                     .rstd = rstd,
                                                     .w = w,
                                                     .b = b,
                                                     .g = masked,
                                                     .sums = sums_of_g,
                                                     .dw = g.contiguous(1),
                                                     .db = g.contiguous(2),
                                                     .relu = relu});
                  const Tensor through = write_g ? masked : dy;
                  if (g.wants(0)) {
                    if (comm != nullptr && !fixed) comm->all_reduce(sums_of_g);
                    Tensor dx = reuse && !has_residual ? dy : like(in);
                    run<&Table::batch_norm_bwd_apply>({.x = in,
                                                       .g = through,
                                                       .mean = mean,
                                                       .rstd = rstd,
                                                       .w = w,
                                                       .b = b,
                                                       .sums = sums_of_g,
                                                       .dx = dx,
                                                       .count = count,
                                                       .fixed_statistics = fixed,
                                                       .relu = relu && !has_residual});
                    g.set(0, dx);
                  }
                  if (g.wants(3)) g.set(3, through);
                });
}

}  // namespace spn::ops
