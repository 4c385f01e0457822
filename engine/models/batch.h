// What the model reads: one rank's part of a global batch.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace spn::models {

struct Batch {
  std::int64_t step = 0, epoch = 0;  // 0-based
  std::int64_t first_sample = 0;     // global batch position of row 0
  Tensor spot_image, niche_image;    // u8 [b,S,S,3], [b,N,N,3]
  Tensor niche_feature;              // f32 [b,width] of the frozen ViT, in place of niche_image; absent: the image
  Tensor spot_gene, niche_gene;      // f32 [b,Gs], [b,G]
  Tensor slide, cluster;             // i32 [b]; cluster -1: unknown
  Tensor xy_um;                      // f32 [b,2]
};

}  // namespace spn::models
