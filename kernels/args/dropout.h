// Dropout whose mask is a function of (seed, step, layer, global sample, element), never of rank or thread.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

// Where a step's batch stands in the run, in the memory of the device that computes: kernels add it to a key's step and
// first_sample when they run, so that a captured step can be replayed for the next batch.
struct BatchClock {
  std::int64_t step = 0, first_sample = 0;
};

struct DropoutKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::uint32_t layer = 0;        // unique in the model
  std::int64_t first_sample = 0;  // global sample index of row 0 (dim 0 of x)
  double p = 0;                   // probability of zero; survivors are scaled by 1 / (1 − p)
  const BatchClock* clock = nullptr;
};

// y = mask · x / (1 − p); the backward is the same call on dy. x [samples, …] contiguous; y may be x.
struct Dropout {
  DropoutKey key;
  View x, y;
  auto views() const { return std::array{&x, &y}; }
};

}  // namespace spn::kernels
