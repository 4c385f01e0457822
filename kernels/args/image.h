// uint8 images to normalised floats, with seeded augmentation, in one pass.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"
#include "kernels/args/dropout.h"

namespace spn::kernels {

struct ImageAugment {
  bool dihedral = false;    // one of the 8 flips and quarter turns, by sample
  double stain_jitter = 0;  // σ of per-sample gain and offset of each stain (haematoxylin, eosin) in optical density
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t first_sample = 0;  // global sample index of row 0
  const BatchClock* clock = nullptr;
};

// x u8 [B,S,S,3]; y [B,3,S,S] stored channels-last, float: (v/255 − mean)/std with ImageNet's constants.
// Both images of a pair take the same turn and the same stain change: they show the same tissue.
struct ImageEmbed {
  View x, y;
  ImageAugment augment;
  auto views() const { return std::array{&x, &y}; }
};

}  // namespace spn::kernels
