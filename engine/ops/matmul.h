// Matrix products.
#pragma once

#include "engine/autograd/var.h"
#include "kernels/args/gemm.h"

namespace spn::ops {

using kernels::Activation;

// a [..., m, k] · b [..., k, n]; leading dims equal or 1. Any strides.
Var matmul(const Var& a, const Var& b);
// act(x [..., in] · wᵀ + bias), w [out, in] as in PyTorch (or [out, 1, in], a convolution whose stride is its kernel),
// bias [out] or absent. The activation is fused. Beside x in bf16, w and bias may be fp32 master weights: w is rounded
// for the products, gradients come in fp32.
Var linear(const Var& x, const Var& w, const Var& bias, Activation act = Activation::none);

}  // namespace spn::ops
