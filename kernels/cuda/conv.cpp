// Convolutions: those of 1x1 with stride 1 are matrix products, the others cuDNN's (lib/conv.cpp). cuDNN's
// channels-last filters are [out,kh,kw,in] and ours [out,in,kh,kw], so filters of more than one pixel go through
// scratch (they are small beside activations); f64, for checks, goes through cuDNN's other layout altogether. What
// cuDNN has no deterministic algorithm for goes through f32, or with a warning to one whose last bits differ from run
// to run.
#include "kernels/checks/conv.h"

#include "engine/core/log.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lib/convolution.h"
#include "kernels/cuda/lib/matrix.h"
#include "kernels/cuda/lib/wide.h"

namespace spn::kernels::cuda {
namespace {

Convolution convolution_of(const ConvShape& conv, const View& x, const View& w, const View& y) {
  const auto i = [](std::int64_t v) {
    check(v <= 0x7fffffff, "conv", "an extent of {} is beyond cuDNN's", v);
    return static_cast<int>(v);
  };
  check(x.ndim() == 4 && w.ndim() == 4 && y.ndim() == 4 && w.dim(1) == x.dim(1) && y.dim(1) == w.dim(0), "conv",
        "shapes {} * {} = {} do not fit", x.shape.str(), w.shape.str(), y.shape.str());
  check(x.is_channels_last() && y.is_channels_last() && w.is_contiguous(), "conv",
        "expected channels-last activations and contiguous weights, got strides {}, {} and {}", x.strides.str(),
        y.strides.str(), w.strides.str());
  return {.n = i(x.dim(0)),
          .c = i(x.dim(1)),
          .h = i(x.dim(2)),
          .w = i(x.dim(3)),
          .out = i(w.dim(0)),
          .kh = i(w.dim(2)),
          .kw = i(w.dim(3)),
          .oh = i(y.dim(2)),
          .ow = i(y.dim(3)),
          .pad_h = conv.pad_h(),
          .pad_w = conv.pad,
          .stride_h = conv.stride_h(),
          .stride_w = conv.stride,
          .dtype = y.dtype,
          .tf32 = tf32_allowed() && y.dtype == DType::f32};
}

// [n,c,h,w] channels-last as the matrix [n·h·w, c].
View pixels(const View& v) {
  View m = v;
  m.shape = {v.dim(0) * v.dim(2) * v.dim(3), v.dim(1)};
  m.strides = contiguous_strides(m.shape);
  return m;
}
// [out,in,1,1] as [out,in], and transposed.
View filter_matrix(const View& w, bool transposed) {
  View m = w;
  const std::int64_t out = w.dim(0), in = w.dim(1);
  m.shape = transposed ? Shape{in, out} : Shape{out, in};
  m.strides = transposed ? Shape{1, in} : Shape{in, 1};
  return m;
}
View transposed(View m) {
  std::swap(m.shape[0], m.shape[1]);
  std::swap(m.strides[0], m.strides[1]);
  return m;
}

void bias_gradient(const View& dy, const View& db) {
  View sum = db;
  sum.shape = {1, db.dim(0)};
  sum.strides = {db.dim(0), 1};
  reduce({.kind = ReduceKind::sum, .x = pixels(dy), .y = sum});
}

void add_bias(const View& bias, const View& y) {
  View same = bias;
  if (bias.dtype != y.dtype) {  // f32 beside bf16
    same.dtype = y.dtype;
    same.data = scratch(Scratch::layout, same.bytes());
    copy({.x = bias, .y = same});
  }
  const View rows = pixels(y);
  binary({.op = BinaryOp::add, .a = rows, .b = as_rows(same, rows), .y = rows});
}

// One pass through cuDNN's layouts; false: refused. What the pass reads: two of them, what it writes: the third, which
// for a filter may have another dtype (cuDNN then rounds the finished sums once, as PyTorch's mixed precision does).
bool pass_through(const Convolution& p, Pass pass, Order order, const View& x, const View& w, const View& y) {
  const bool other = !p.channels_last();
  Cut cut(Cut::room(w) + (other ? Cut::room(x) + Cut::room(y) : 0));
  const auto there = [&](const View& v, bool moves, bool written) {
    if (!moves) return v;
    const View t = cut.take(v, !other, p.dtype);
    if (!written) copy({.x = v, .y = t});
    return t;
  };
  const View tx = there(x, other, pass == Pass::data), ty = there(y, other, pass == Pass::forward);
  // f64's filters are as they are in both
  const View tw = there(w, (!other && p.kh * p.kw > 1) || w.dtype != p.dtype, pass == Pass::filter);
  if (!convolve(p, pass, order, tx.data, tw.data, ty.data)) return false;
  const View &from = pass == Pass::forward ? ty
                     : pass == Pass::data  ? tx
                                           : tw,
             &to = pass == Pass::forward ? y
                   : pass == Pass::data  ? x
                                         : w;
  if (from.data != to.data) copy({.x = from, .y = to});
  return true;
}

void any_pass(const Convolution& p, Pass pass, const View& x, const View& w, const View& y) {
  if (can_convolve(p, pass, Order::fixed) && pass_through(p, pass, Order::fixed, x, w, y)) return;
  const auto refused = [&] {
    return fmt::format("cuDNN has no deterministic algorithm for the {} of {} [{},{},{},{}] by {} filters {}x{}",
                       pass == Pass::forward ? "result"
                       : pass == Pass::data  ? "input's gradient"
                                             : "filters' gradient",
                       name_of(p.dtype), p.n, p.c, p.h, p.w, p.out, p.kh, p.kw);
  };
  static bool said_widened = false, said_any = false;
  if (p.dtype == DType::bf16) {  // few channels, large strides
    if (!std::exchange(said_widened, true)) log::info("conv: {}; such ones go through f32", refused());
    Wide f({&x, &w, &y});
    const auto side = [&](const View& v, bool written) { return written ? f.out(v) : f.in(v); };
    const View fx = side(x, pass == Pass::data), fw = side(w, pass == Pass::filter),
               fy = side(y, pass == Pass::forward);
    Convolution wide = p;
    wide.dtype = DType::f32;
    wide.tf32 = tf32_allowed();
    any_pass(wide, pass, fx, fw, fy);
    return Wide::round(pass == Pass::forward ? fy
                       : pass == Pass::data  ? fx
                                             : fw,
                       pass == Pass::forward ? y
                       : pass == Pass::data  ? x
                                             : w);
  }
  if (can_convolve(p, pass, Order::any)) {
    if (!std::exchange(said_any, true))
      log::warn("conv: {}; one is taken whose last bits may differ from run to run", refused());
    if (pass_through(p, pass, Order::any, x, w, y)) return;
  }
  fail("conv", "{}, nor any other; SPN_LOG=debug says what it refused", refused());
}

}  // namespace

void conv_fwd(const ConvFwd& o) {
  const Convolution p = convolution_of(o.conv, o.x, o.w, o.y);
  if (o.y.numel() == 0) return;
  if (is_product(o.conv, o.w))
    return gemm({.a = pixels(o.x), .b = filter_matrix(o.w, true), .c = pixels(o.y), .bias = o.bias});
  any_pass(p, Pass::forward, o.x, o.w, o.y);
  if (o.bias) add_bias(o.bias, o.y);
}

void conv_bwd(const ConvBwd& o) {
  check_accumulation(o);
  const View& x = o.x ? o.x : o.dx;  // dx alone needs x's shape only
  const Convolution p = convolution_of(o.conv, x, o.w, o.dy);
  if (o.dy.numel() == 0 || x.numel() == 0) {
    for (const View* v : {&o.dx, &o.dw, &o.db})
      if (*v && !(v == &o.dx && o.accumulate_dx)) copy({.value = 0, .y = *v});
    return;
  }
  if (o.db) bias_gradient(o.dy, o.db);
  if (is_product(o.conv, o.w)) {
    if (o.dx)
      gemm({.a = pixels(o.dy), .b = filter_matrix(o.w, false), .c = pixels(o.dx), .accumulate = o.accumulate_dx});
    if (o.dw) gemm({.a = transposed(pixels(o.dy)), .b = pixels(o.x), .c = filter_matrix(o.dw, false)});
    return;
  }
  if (o.dx) any_pass(p, Pass::data, o.dx, o.w, o.dy);
  if (o.dw) any_pass(p, Pass::filter, o.x, o.dw, o.dy);
}

}  // namespace spn::kernels::cuda
