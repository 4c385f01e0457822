// A linear layer as a 1 x 1 convolution: on CPUs without AVX-512 oneDNN runs that about 7 % faster than its matrix
// product, the weight's reorder included (docs/benchmarks/vit.md).
#pragma once

#include "kernels/cpu/kernels.h"

namespace spn::kernels::cpu {

// Whether c = a · b + bias is such a layer: f32, a [m,k] and c [m,n] contiguous, b the transpose of a contiguous [n,k],
// large enough to pay for the reorder.
bool pointwise_wins(const View& a, const View& b, const View& c, bool accumulate);
// c = act(a · b + bias); bias [n] or absent.
void pointwise(const View& a, const View& b, const View& c, const View& bias, Activation act);

}  // namespace spn::kernels::cpu
