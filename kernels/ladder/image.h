// What the ladders of image_embed and their rungs share.
#pragma once

#include "kernels/args/image.h"

namespace spn::kernels {

// As a training step has it.
inline constexpr ImageAugment kImageAugmentation = {.dihedral = true, .stain_jitter = 0.05, .seed = 42, .step = 3};

// y, stored as it is given, [B,S,S,3], as [B,3,S,S].
inline View channels_last(View y) {
  const std::int64_t s = y.dim(1);
  y.shape = {y.dim(0), 3, s, s};
  y.strides = {3 * s * s, 1, 3 * s, 3};
  return y;
}

}  // namespace spn::kernels
