// Scaled dot-product attention, fused, for the short sequences of this model (8 to a few hundred tokens).
#pragma once

#include <array>

#include "engine/core/view.h"
#include "kernels/args/dropout.h"

namespace spn::kernels {

// o = dropout(softmax(scale · q kᵀ)) v, scale > 0. q, o [B,H,Tq,Dh], k, v [B,H,Tk,Dh]: any strides with unit stride in
// Dh (slices of a packed qkv, heads interleaved in rows). lse [B,H,Tq] fp32 (f64 for f64): logsumexp of the scaled
// logits. The dropout element of sample b is (h·Tq + i)·Tk + j; key.p = 0: no dropout.
struct AttentionFwd {
  View q, k, v, o, lse;
  double scale = 1;
  DropoutKey dropout;
  auto views() const { return std::array{&q, &k, &v, &o, &lse}; }
};
struct AttentionBwd {
  View q, k, v, o, lse, d_o, dq, dk, dv;
  double scale = 1;
  DropoutKey dropout;
  auto views() const { return std::array{&q, &k, &v, &o, &lse, &d_o, &dq, &dk, &dv}; }
};

}  // namespace spn::kernels
