// Times kernels rung by rung (kernels/ladder/ladder.h), each checked against the CPU before it is timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/core/view.h"

namespace spn::bench {

struct KernelCase {
  Device device;
  std::int64_t elements = 0;  // of the largest operand; 0: 2^26 on a GPU (or what a ladder says), 2^22 on the CPU
  int repeats = 20;           // at most: what takes long is timed three times, or for a second
  std::string only;           // a ladder's name; empty: all
};

struct RungFigure {
  std::string kernel, about, rung;  // the last rung of a kernel is the table's entry
  bool shipped = false;             // this one
  std::int64_t elements = 0;        // that were asked of the largest operand
  std::int64_t bytes = 0;           // that the work must move at least
  double seconds = 0;               // median of `repeats`
  int repeats = 0;
  double gb_per_s = 0, of_copy = 0;
  double worst = 0;  // error of the worst element in units of what is allowed: at most 1; 0 on the CPU, the reference
};

// Calls `done` after each rung, so that a run that is ended early has told what it knew. The result: GB/s of a copy of
// a large array on the device, both directions counted. Usage error where no ladder is called `only`. A rung that is
// wrong is not timed, and the call throws when all others have been.
double measure_kernels(const KernelCase& what,
                       const std::function<void(const RungFigure&, double copy_gb_per_s)>& done);

}  // namespace spn::bench
