// Rows by index, and its transpose.
#pragma once

#include <array>

#include "engine/core/view.h"

namespace spn::kernels {

// y[i,…] = x[index[i],…]; index i64 [n], each in [0, rows): otherwise the CPU throws. CUDA kernels are queued before
// anybody has read the index: there row i of y becomes NaN (all bits set in any dtype).
struct GatherRows {
  View x, index, y;
  auto views() const { return std::array{&x, &index, &y}; }
};
// y[index[i],…] += x[i,…], in order of i (deterministic); y is zeroed first. An index outside y's rows throws on the
// CPU and makes all of y NaN on CUDA.
struct ScatterAddRows {
  View x, index, y;
  auto views() const { return std::array{&x, &index, &y}; }
};

}  // namespace spn::kernels
