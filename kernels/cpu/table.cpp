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
      .adamw = cpu::adamw,
      .sgd = cpu::sgd,
      .sum_of_squares = cpu::sum_of_squares,
  };
  return table;
}

}  // namespace spn::kernels
