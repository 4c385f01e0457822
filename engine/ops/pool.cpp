// Pooling over [N,C,H,W]: maximum, average, adaptive average.
#include "engine/ops/pool.h"

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::PoolKind;
using kernels::run;
using kernels::Table;

namespace {

struct Window {
  int kernel, stride, pad;
};

Var any_pool(const char* op, PoolKind kind, const Var& x, Window win, std::int64_t height, std::int64_t width) {
  const Tensor in = x.value().channels_last();
  const Shape shape{x.dim(0), x.dim(1), height, width};
  Tensor y = Tensor::empty_channels_last(shape, in.dtype(), in.device()), index;
  if (kind == PoolKind::max) {
    check(x.dim(2) * x.dim(3) <= INT32_MAX, op, "expected at most 2^31 pixels an image, got {}", x.shape().str());
    index = Tensor::empty_channels_last(shape, DType::i32, in.device());
  }
  run<&Table::pool_fwd>(
      {.kind = kind, .kernel = win.kernel, .stride = win.stride, .pad = win.pad, .x = in, .y = y, .index = index});
  return record(op, y, {x}, [kind, win, index, like = x.shape()](const Tensor& dy, Grads& g) {
    Tensor dx = Tensor::empty_channels_last(like, dy.dtype(), dy.device());
    run<&Table::pool_bwd>({.kind = kind,
                           .kernel = win.kernel,
                           .stride = win.stride,
                           .pad = win.pad,
                           .dy = dy.channels_last(),
                           .index = index,
                           .dx = dx});
    g.set(0, dx);
  });
}

Var window_pool(const char* op, PoolKind kind, const Var& x, Window win) {
  check_dims(op, "x", x, {-1, -1, -1, -1});
  check(win.kernel > 0 && win.stride > 0 && win.pad >= 0 && 2 * win.pad <= win.kernel, op,
        "expected kernel and stride of at least 1 and 0 <= pad <= kernel / 2, got kernel {}, stride {}, pad {}",
        win.kernel, win.stride, win.pad);
  const auto extent = [&](std::int64_t in) { return (in + 2 * win.pad - win.kernel) / win.stride + 1; };
  for (int d = 2; d < 4; ++d)
    check(x.dim(d) + 2 * win.pad >= win.kernel, op,
          "expected an image at least as large as the kernel {} (pad {}), got {}", win.kernel, win.pad,
          x.shape().str());
  return any_pool(op, kind, x, win, extent(x.dim(2)), extent(x.dim(3)));
}

}  // namespace

Var max_pool2d(const Var& x, int kernel, int stride, int pad) {
  return window_pool("max_pool2d", PoolKind::max, x, {kernel, stride, pad});
}

Var avg_pool2d(const Var& x, int kernel, int stride, int pad) {
  return window_pool("avg_pool2d", PoolKind::average, x, {kernel, stride, pad});
}

Var adaptive_avg_pool2d(const Var& x, std::int64_t height, std::int64_t width) {
  check_dims("adaptive_avg_pool2d", "x", x, {-1, -1, -1, -1});
  check(height > 0 && width > 0 && x.dim(2) > 0 && x.dim(3) > 0, "adaptive_avg_pool2d",
        "expected images and output of at least 1 x 1, got {} to {} x {}", x.shape().str(), height, width);
  return any_pool("adaptive_avg_pool2d", PoolKind::adaptive_average, x, {1, 1, 0}, height, width);
}

Var global_avg_pool(const Var& x) {
  const Var pooled = adaptive_avg_pool2d(x, 1, 1);
  const Shape shape = pooled.shape();
  return record("global_avg_pool", pooled.value().reshape({shape[0], shape[1]}), {pooled},
                [shape](const Tensor& dy, Grads& g) { g.set(0, dy.reshape(shape)); });
}

}  // namespace spn::ops
