// Pooling over [N,C,H,W].
#pragma once

#include "engine/autograd/var.h"

namespace spn::ops {

Var max_pool2d(const Var& x, int kernel, int stride, int pad = 0);
Var avg_pool2d(const Var& x, int kernel, int stride, int pad = 0);
Var adaptive_avg_pool2d(const Var& x, std::int64_t height, std::int64_t width);
// [N,C,H,W] -> [N,C].
Var global_avg_pool(const Var& x);

}  // namespace spn::ops
