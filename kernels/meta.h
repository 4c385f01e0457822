// The meta device: tensors with shapes but no memory, kernels that only count. What a step computes, moves and holds is
// known exactly, for any size, before it runs (spotniche inspect --model).
#pragma once

namespace spn::kernels {

struct Work {
  double flops = 0;  // of matrix products, convolutions, attention and the loss; a multiply-add is two
  double bytes = 0;  // read and written by all kernels, each view once
};

void meta_reset_work();
Work meta_work();  // since the last reset

}  // namespace spn::kernels
