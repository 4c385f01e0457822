// Pooling over [N,C,H,W], stored channels-last.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

// adaptive_average: output cell i covers inputs [floor(i·in/out), ceil((i+1)·in/out)), as PyTorch.
// average counts padding in the divisor (PyTorch's count_include_pad default).
enum class PoolKind : std::uint8_t { max, average, adaptive_average };

struct PoolFwd {
  PoolKind kind{};
  int kernel = 1, stride = 1, pad = 0;  // not read by adaptive_average
  View x, y;
  View index;  // i32, y's shape: position h·W + w of the maximum; max only
  auto views() const { return std::array{&x, &y, &index}; }
};

struct PoolBwd {
  PoolKind kind{};
  int kernel = 1, stride = 1, pad = 0;
  View dy, index, dx;
  auto views() const { return std::array{&dy, &index, &dx}; }
};

}  // namespace spn::kernels
