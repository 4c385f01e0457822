// Multi-head attention, fused for short sequences.
#pragma once

#include "engine/autograd/var.h"
#include "kernels/args/dropout.h"

namespace spn::ops {

using kernels::DropoutKey;

// qkv [B,T,3·H·Dh]: q, k, v blocks, head-major inside each (timm's layout). -> [B,T,H·Dh]. scale 1/sqrt(Dh).
Var self_attention(const Var& qkv, int heads, const DropoutKey& dropout = {});
// q [B,Tq,H·Dh], k and v [B,Tk,H·Dh] -> [B,Tq,H·Dh].
Var cross_attention(const Var& q, const Var& k, const Var& v, int heads, const DropoutKey& dropout = {});

}  // namespace spn::ops
