// ImageSource: 8-bit RGB pixels of a slide's image by region, whatever the file is. Huge images are never held whole
// where their format allows it: windows are asked for from the top down, and rows above are released.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace spn::data {

// Whole pixels, inside the image.
struct Rect {
  std::int64_t left = 0, top = 0, width = 0, height = 0;
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  std::int64_t width() const { return width_; }
  std::int64_t height() const { return height_; }
  // "JPEG", "tiled TIFF", …
  virtual std::string format() const = 0;
  // Copies the rectangle into out, RGB, `stride` bytes from row to row. Rows above the last release_above() are gone.
  // Data error when the file is damaged or truncated there.
  virtual void read(const Rect& rect, std::uint8_t* out, std::int64_t stride) = 0;
  // Promises that no row above y is asked for again. Never goes up.
  virtual void release_above(std::int64_t y) = 0;
  // Decoded bytes held now.
  virtual std::int64_t held_bytes() const = 0;
  // Some pixels (RGB triples) spread evenly over the whole image, by a pass of its own over the file; for statistics.
  virtual std::vector<std::uint8_t> sample() const = 0;

 protected:
  std::int64_t width_ = 0, height_ = 0;
};

// By the file's first bytes, never by its name. Transparent pixels are laid on white, grey becomes RGB, 16 bits become
// 8, orientation tags are not followed (coordinates belong to the stored pixels). Data errors: missing, empty, not an
// image that is known here, damaged header.
std::unique_ptr<ImageSource> open_image(const std::string& path);

}  // namespace spn::data
