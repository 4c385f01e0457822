// Reductions over any subset of dims.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

enum class ReduceKind : std::uint8_t { sum, mean, max };

// y has x's number of dims, with extent 1 where it reduces. fp32 and bf16 are summed in fp32 or better; y has x's
// dtype, or is fp32 for bf16.
struct Reduce {
  ReduceKind kind{};
  View x, y;
  auto views() const { return std::array{&x, &y}; }
};

}  // namespace spn::kernels
