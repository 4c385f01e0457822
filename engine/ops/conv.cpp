// Convolutions: shape rules around one kernel. Activations are channels-last from the first layer on.
#include "engine/ops/conv.h"

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::ConvShape;
using kernels::is_product;
using kernels::run;
using kernels::Table;

namespace {

// in4, w4: the values of x and w as [N,C,H,W], w in x's dtype; back: makes a gradient of that shape one of x's.
template <class Back>
Var convolve(const char* op, const Var& x, const Tensor& in4, const Var& w, const Tensor& w4, const Var& bias,
             const ConvShape& conv, Back back) {
  check_parameter_dtype(op, "w", w, x);
  if (bias) {
    check_dims(op, "bias", bias, {w.dim(0)});
    check_same_dtype(op, w, bias);
  }
  check(conv.stride > 0 && conv.pad >= 0, op, "expected stride of at least 1 and pad of at least 0, got {} and {}",
        conv.stride, conv.pad);
  for (int d = 2; d < 4; ++d)
    check(w4.dim(d) > 0 && in4.dim(d) + 2 * (d == 2 ? conv.pad_h() : conv.pad) >= w4.dim(d), op,
          "expected x at least as large as the kernel {} (pad {}), got {}", w.shape().str(), conv.pad, x.shape().str());
  const std::int64_t height = (in4.dim(2) + 2 * conv.pad_h() - w4.dim(2)) / conv.stride_h() + 1,
                     width = (in4.dim(3) + 2 * conv.pad - w4.dim(3)) / conv.stride + 1;
  const Tensor in = in4.channels_last(), weights = w4.contiguous();
  Tensor y = Tensor::empty_channels_last({in.dim(0), w.dim(0), height, width}, in.dtype(), in.device());
  const Tensor b = bias ? bias.value().contiguous() : Tensor();
  run<&Table::conv_fwd>({.conv = conv, .x = in, .w = weights, .bias = b, .y = y});
  return record(op, conv.one_dim ? y.select(2, 0).contiguous() : y, {x, w, bias},
                [in, weights, conv, back](const Tensor& dy, Grads& g) {
                  const Tensor dy4 = conv.one_dim ? dy.unsqueeze(2).channels_last() : dy.channels_last();
                  // A residual block's input has the gradient of its shortcut already: the product adds to it.
                  const View onto = is_product(conv, weights) ? g.gathered(0) : View{};
                  const bool accumulate = onto && onto.is_channels_last();
                  Tensor dx;
                  if (g.wants(0) && !accumulate) dx = Tensor::empty_channels_last(in.shape(), in.dtype(), in.device());
                  View dw = g.contiguous(1);
                  dw.shape = weights.shape(), dw.strides = contiguous_strides(dw.shape);
                  run<&Table::conv_bwd>({.conv = conv,
                                         .x = in,
                                         .w = weights,
                                         .dy = dy4,
                                         .dx = accumulate ? onto : dx.view(),
                                         .dw = dw,
                                         .db = g.contiguous(2),
                                         .accumulate_dx = accumulate});
                  if (dx) g.set(0, back(dx));
                });
}

}  // namespace

Var conv2d(const Var& x, const Var& w, const Var& bias, int stride, int pad) {
  check_dims("conv2d", "x", x, {-1, -1, -1, -1});
  check_dims("conv2d", "w", w, {-1, x.dim(1), -1, -1});
  return convolve("conv2d", x, x.value(), w, w.value_as(x.dtype()), bias, {stride, pad, false},
                  [](const Tensor& dx) { return dx; });
}

Var conv1d(const Var& x, const Var& w, const Var& bias, int stride, int pad) {
  check_dims("conv1d", "x", x, {-1, -1, -1});
  check_dims("conv1d", "w", w, {-1, x.dim(1), -1});
  return convolve("conv1d", x, x.value().unsqueeze(2), w, w.value_as(x.dtype()).unsqueeze(2), bias, {stride, pad, true},
                  [](const Tensor& dx) { return dx.select(2, 0).contiguous(); });
}

}  // namespace spn::ops
