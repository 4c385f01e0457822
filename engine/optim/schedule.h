// Values per step: linear warm-up from 0, then a cosine. For the learning rate and (without warm-up) the weight decay.
#pragma once

#include <cstdint>

namespace spn::optim {

// step < warmup: start · step / warmup (0 at step 0); then end + (start − end) · (1 + cos(π · s / S)) / 2 with
// s = step − warmup, S = total − warmup; end from step `total` on. Steps count from 0.
struct Cosine {
  double start = 0, end = 0;
  std::int64_t warmup = 0, total = 1;
  double at(std::int64_t step) const;
};

// The peak learning rate for a global batch: base is for a batch of 256.
double scaled_lr(double base, std::int64_t global_batch);

}  // namespace spn::optim
