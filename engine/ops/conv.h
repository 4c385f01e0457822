// Convolutions (cross-correlation, PyTorch's convention). Beside x in bf16, w and bias may be fp32 master weights: w is
// rounded for the products, gradients come in fp32.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// x [N,C,H,W], w [out,C,kh,kw], bias [out] or absent. The result is stored channels-last, whatever x is.
Var conv2d(const Var& x, const Var& w, const Var& bias, int stride = 1, int pad = 0);
// x [N,C,L], w [out,C,k], bias [out] or absent -> [N,out,(L + 2·pad − k) / stride + 1].
Var conv1d(const Var& x, const Var& w, const Var& bias, int stride = 1, int pad = 0);

}  // namespace spn::ops
