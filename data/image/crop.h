// One window of an image as a small square picture: cut, padded where it leaves the image, resized.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/image/resize.h"
#include "data/image/source.h"
#include "data/niche/windows.h"

namespace spn::data {

using Colour = std::array<std::uint8_t, 3>;

// The slide's background: the commonest colour (cells of 16 levels a channel) among sampled pixels brighter than half,
// averaged within the cell; among all pixels when fewer than one in a hundred is bright.
Colour estimate_background(const std::vector<std::uint8_t>& rgb);

class Cropper {
 public:
  // Reads the whole pixels that the window touches (what lies outside the image takes the background), then resizes the
  // window itself to side x side px; the filter does not look beyond those pixels. out: RGB [side, side, 3].
  void operator()(ImageSource& image, const Window& window, const Colour& background, std::int64_t side,
                  std::uint8_t* out);

 private:
  std::vector<std::uint8_t> pixels_;
  Resizer resize_;
};

}  // namespace spn::data
