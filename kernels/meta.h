// The meta device: tensors with shapes but no memory, kernels that only count. What a step computes, moves and holds is
// known exactly, for any size, before it runs (spotniche inspect --model).
#pragma once

#include "kernels/work.h"

namespace spn::kernels {

void meta_reset_work();
Work meta_work();  // since the last reset

}  // namespace spn::kernels
