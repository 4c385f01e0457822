// Dropout keyed by seed, step, layer and global sample (kernels/args/dropout.h).
#pragma once

#include "engine/autograd/var.h"
#include "kernels/args/dropout.h"

namespace spn::ops {

using kernels::DropoutKey;

// x [samples, ...]; key.p = 0: x itself.
Var dropout(const Var& x, const DropoutKey& key);

}  // namespace spn::ops
