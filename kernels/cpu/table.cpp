// The CPU table.
#include "kernels/cpu/kernels.h"

namespace spn::kernels {

const Table& cpu_table() {
  static const Table table = {
      .alloc = cpu::alloc,
      .release = cpu::release,
      .transfer = cpu::transfer,
      .sync = cpu::sync,
      .memory = cpu::memory,
      .reset_peak = cpu::reset_peak,
      .unary_fwd = cpu::unary_fwd,
      .unary_bwd = cpu::unary_bwd,
      .binary = cpu::binary,
      .affine = cpu::affine,
      .copy = cpu::copy,
      .reduce = cpu::reduce,
      .gemm = cpu::gemm,
      .adamw = cpu::adamw,
      .sgd = cpu::sgd,
      .sum_of_squares = cpu::sum_of_squares,
  };
  return table;
}

}  // namespace spn::kernels
