// Image files of one known picture in every layout that `prepare` must read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::test {

// RGB of the picture at (x, y): smooth, different in each channel, no two neighbours alike.
std::uint8_t pixel(std::int64_t x, std::int64_t y, int channel);
std::vector<std::uint8_t> picture(std::int64_t width, std::int64_t height);

struct PngKind {
  int bits = 8;        // 8 or 16
  bool alpha = false;  // the left half transparent (alpha 0), the rest opaque
  bool grey = false;   // red channel only
  bool interlaced = false;
};
void write_png(const std::string& path, std::int64_t width, std::int64_t height, const PngKind& kind);

enum class JpegKind { baseline, progressive, grey, cmyk };  // cmyk: Adobe, no black
void write_jpeg(const std::string& path, std::int64_t width, std::int64_t height, JpegKind kind = JpegKind::baseline);

struct TiffKind {
  int bits = 8;             // 8 or 16
  int samples = 3;          // 1 grey, 3 RGB, 4 RGBA (left half transparent)
  bool planes = false;      // planar configuration "separate": (3, H, W)
  bool pages = false;       // three grey pages: (3, H, W)
  bool rows = false;        // three rows of H px with W samples: (3, H, W)
  bool minisblack = false;  // colours not declared as RGB
  bool big = false;         // BigTIFF
  int tile = 0;             // tile side, 0: strips
  int rows_per_strip = 7;   // 0: one strip
  int compression = 1;      // libtiff's number
  bool premultiplied = false;
};
void write_tiff(const std::string& path, std::int64_t width, std::int64_t height, const TiffKind& kind);

}  // namespace spn::test
