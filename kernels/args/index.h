// Rows by index, and its transpose.
#pragma once

#include <array>

#include "engine/core/view.h"

namespace spn::kernels {

// y[i,…] = x[index[i],…]; index i64 [n], each in [0, rows): otherwise the kernel throws.
struct GatherRows {
  View x, index, y;
  auto views() const { return std::array{&x, &index, &y}; }
};
// y[index[i],…] += x[i,…], in order of i (deterministic); y is zeroed first.
struct ScatterAddRows {
  View x, index, y;
  auto views() const { return std::array{&x, &index, &y}; }
};

}  // namespace spn::kernels
