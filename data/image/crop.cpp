#include "data/image/crop.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace spn::data {
namespace {

constexpr std::int64_t kMaxSide = 32768;  // px; wider windows come from a wrong scale

int luma(const std::uint8_t* p) { return (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000; }

}  // namespace

Colour estimate_background(const std::vector<std::uint8_t>& rgb) {
  constexpr std::size_t kLevels = 16;
  struct Cell {
    std::int64_t n = 0, sum[3] = {0, 0, 0};
  };
  check(rgb.size() >= 3, "background", "expected sampled pixels, got none");
  std::size_t bright = 0;
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) bright += luma(&rgb[i]) >= 128;
  const bool bright_only = bright * 100 >= rgb.size() / 3;
  std::vector<Cell> cells(kLevels * kLevels * kLevels);
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    const std::uint8_t* p = &rgb[i];
    if (bright_only && luma(p) < 128) continue;
    Cell& c = cells[(p[0] / kLevels * kLevels + p[1] / kLevels) * kLevels + p[2] / kLevels];
    ++c.n;
    for (int k = 0; k < 3; ++k) c.sum[k] += p[k];
  }
  const Cell& most = *std::ranges::max_element(cells, {}, &Cell::n);
  Colour out{};
  for (std::size_t k = 0; k < 3; ++k) out[k] = static_cast<std::uint8_t>((most.sum[k] + most.n / 2) / most.n);
  return out;
}

void Cropper::operator()(ImageSource& image, const Window& w, const Colour& background, std::int64_t side,
                         std::uint8_t* out) {
  const auto left = static_cast<std::int64_t>(std::floor(w.left)), top = static_cast<std::int64_t>(std::floor(w.top));
  const std::int64_t width = static_cast<std::int64_t>(std::ceil(w.right)) - left;
  const std::int64_t height = static_cast<std::int64_t>(std::ceil(w.bottom)) - top;
  if (width > kMaxSide || height > kMaxSide)
    fail_data("image",
              "a window of {} x {} px: µm per px is too small to be right; check the coordinates or --pitch-um", width,
              height);
  pixels_.resize(static_cast<std::size_t>(width * height * 3));
  const std::int64_t x0 = std::max<std::int64_t>(left, 0), x1 = std::min(left + width, image.width());
  const std::int64_t y0 = std::max<std::int64_t>(top, 0), y1 = std::min(top + height, image.height());
  const bool whole = x0 == left && y0 == top && x1 == left + width && y1 == top + height;
  if (!whole)
    for (std::size_t i = 0; i < pixels_.size(); ++i) pixels_[i] = background[i % 3];
  if (x0 < x1 && y0 < y1)
    image.read({x0, y0, x1 - x0, y1 - y0}, &pixels_[static_cast<std::size_t>(((y0 - top) * width + x0 - left) * 3)],
               width * 3);
  const auto dx = static_cast<double>(left), dy = static_cast<double>(top);
  resize_(pixels_.data(), width, height, {w.left - dx, w.top - dy, w.right - dx, w.bottom - dy}, out, side, side);
}

}  // namespace spn::data
