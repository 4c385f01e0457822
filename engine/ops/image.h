// Images to network input. No gradient flows to pixels.
#pragma once

#include "engine/tensor/tensor.h"
#include "kernels/args/image.h"

namespace spn::ops {

// u8 [B,S,S,3] -> [B,3,S,S] channels-last, normalised with ImageNet's mean and deviation, augmented as asked.
Tensor image_embed(const Tensor& images, const kernels::ImageAugment& augment, DType dtype = DType::f32);

}  // namespace spn::ops
