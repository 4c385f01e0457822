// Separable triangle filter with antialiasing, in the fixed-point arithmetic of Pillow's Image.resize(BILINEAR, box=…):
// the same bytes.
#pragma once

#include <cstdint>
#include <vector>

namespace spn::data {

// Part of an image, edges in px (pixel i covers [i, i + 1)), inside [0, width] x [0, height].
struct Box {
  double left, top, right, bottom;
};

// Keeps its buffers between calls.
class Resizer {
 public:
  // in: RGB [height, width, 3]; out: [out_height, out_width, 3]. The box is stretched over out; when shrinking, the
  // filter widens with the scale. Pixels outside the image weigh nothing.
  void operator()(const std::uint8_t* in, std::int64_t width, std::int64_t height, const Box& box, std::uint8_t* out,
                  std::int64_t out_width, std::int64_t out_height);

 private:
  // For each output pixel: first input pixel, number of them, weights.
  struct Taps {
    std::vector<std::int64_t> first, count;
    std::vector<std::int32_t> weight;  // [out, most]
    std::int64_t most = 0;
    void set(std::int64_t in, double from, double to, std::int64_t out);
    std::vector<double> scratch;
  };
  Taps across_, down_;
  std::vector<std::uint8_t> narrow_;  // [height, out_width, 3]
};

}  // namespace spn::data
