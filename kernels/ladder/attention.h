// What the ladders of attention and their rungs share.
#pragma once

#include "kernels/args/dropout.h"

namespace spn::kernels {

// Of the weights, where a ladder has dropout: as the model's.
inline constexpr DropoutKey kAttentionDropout = {.seed = 42, .step = 3, .layer = 7, .first_sample = 0, .p = 0.1};

}  // namespace spn::kernels
