// Image windows around spots: squares of a physical side about the spot's centre.
#pragma once

#include <cstdint>

namespace spn::data {

// Pixel i of a row covers [i, i + 1); edges may be fractional and may lie outside the image.
struct Window {
  double left = 0, top = 0, right = 0, bottom = 0;
  bool leaves(std::int64_t width, std::int64_t height) const {
    return left < 0 || top < 0 || right > static_cast<double>(width) || bottom > static_cast<double>(height);
  }
};

// side_um wide and high around (x, y) px, at um_per_px.
Window window_around(double x, double y, double side_um, double um_per_px);

}  // namespace spn::data
