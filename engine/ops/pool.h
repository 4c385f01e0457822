// Pooling over x [N,C,H,W] of any layout, result channels-last.
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

// [N,C,H,W] -> [N,C,(H + 2·pad − kernel) / stride + 1,(W + …) + 1], pad at most half a kernel. Padding is never the
// maximum, and counts as zeros in an average (PyTorch's count_include_pad).
Var max_pool2d(const Var& x, int kernel, int stride, int pad = 0);
Var avg_pool2d(const Var& x, int kernel, int stride, int pad = 0);
// -> [N,C,height,width]; cells as PyTorch's (kernels/args/pool.h).
Var adaptive_avg_pool2d(const Var& x, std::int64_t height, std::int64_t width);
// -> [N,C].
Var global_avg_pool(const Var& x);

}  // namespace spn::ops
