// What the ladders of image_embed and their rungs share.
#pragma once

#include "kernels/args/image.h"

namespace spn::kernels {

// As a training step has it.
inline constexpr ImageAugment kImageAugmentation = {.dihedral = true, .stain_jitter = 0.05, .seed = 42, .step = 3};

}  // namespace spn::kernels
