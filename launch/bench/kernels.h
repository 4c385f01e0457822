// Times kernels rung by rung (kernels/ladder/ladder.h), each checked against the CPU before it is timed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/view.h"

namespace spn::bench {

struct KernelCase {
  Device device;
  std::int64_t elements = 0;  // of the largest operand
  int repeats = 20;
  std::string only;  // a ladder's name; empty: all
};

struct RungFigure {
  std::string kernel, about, rung;  // the last rung of a kernel is the table's entry
  std::int64_t bytes = 0;           // that the work must move at least
  double seconds = 0;               // median
  double gb_per_s = 0, of_copy = 0;
  double worst = 0;  // error of the worst element in units of what is allowed: at most 1; 0 on the CPU, the reference
};

struct KernelFigures {
  double copy_gb_per_s = 0;  // a copy of a large array on the device, both directions counted
  std::vector<RungFigure> rungs;
};

// Usage error where no ladder is called `only`; throws when a rung is wrong.
KernelFigures measure_kernels(const KernelCase& what);

}  // namespace spn::bench
