// 2-D convolution (cross-correlation, as in PyTorch). Logical [N,C,H,W] and [out,in,kh,kw]; activations are stored
// channels-last (N,H,W,C), weights contiguous.
#pragma once

#include <array>

#include "engine/core/view.h"

namespace spn::kernels {

struct ConvShape {
  int stride = 1, pad = 0;
  bool one_dim = false;  // H and kh are 1: pad applies to W alone
  int pad_h() const { return one_dim ? 0 : pad; }
  int stride_h() const { return one_dim ? 1 : stride; }
};

// A matrix product over pixels, where the filters w are 1x1.
inline bool is_product(const ConvShape& conv, const View& w) {
  return w.dim(2) == 1 && w.dim(3) == 1 && conv.stride == 1 && conv.pad == 0;
}

// y = x * w (+ bias[out]).
struct ConvFwd {
  ConvShape conv;
  View x, w, bias, y;
  auto views() const { return std::array{&x, &w, &bias, &y}; }
};

// Absent outputs are skipped. For x and dy in bf16, dw and db may be f32, and so may the bias above. accumulate_dx, for
// products alone (is_product): dx is added to, rounded once.
struct ConvBwd {
  ConvShape conv;
  View x, w, dy, dx, dw, db;
  bool accumulate_dx = false;
  auto views() const { return std::array{&x, &w, &dy, &dx, &dw, &db}; }
};

}  // namespace spn::kernels
