#include "tests/support/made_images.h"

// clang-format off
#include <cstdio>  // jpeglib.h needs it
#include <jpeglib.h>
#include <png.h>
#include <tiffio.h>
// clang-format on

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"

namespace spn::test {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::FILE* create(const std::string& path) {
  std::FILE* f = std::fopen(path.c_str(), "wb");
  check(f != nullptr, "made images", "cannot write {}", path);
  return f;
}

// A sample in 8 bits or, in 16, with a low byte that must not matter.
void put(std::vector<std::uint8_t>& row, std::int64_t i, int value, int bits, bool big_endian) {
  if (bits == 8) {
    row[at(i)] = static_cast<std::uint8_t>(value);
    return;
  }
  const auto wide = static_cast<std::uint16_t>(value * 257);
  row[at(2 * i + (big_endian ? 0 : 1))] = static_cast<std::uint8_t>(wide >> 8);
  row[at(2 * i + (big_endian ? 1 : 0))] = static_cast<std::uint8_t>(wide & 255);
}

}  // namespace

std::uint8_t pixel(std::int64_t x, std::int64_t y, int channel) {
  const std::int64_t v = channel == 0 ? 2 * x + y : channel == 1 ? x + 3 * y + 40 : 5 * x - y + 300;
  const std::int64_t saw = v % 400;
  return static_cast<std::uint8_t>(20 + (saw < 200 ? saw : 399 - saw));
}

std::vector<std::uint8_t> picture(std::int64_t width, std::int64_t height) {
  std::vector<std::uint8_t> out(at(width * height * 3));
  for (std::int64_t i = 0; i < width * height * 3; ++i)
    out[at(i)] = pixel(i / 3 % width, i / 3 / width, static_cast<int>(i % 3));
  return out;
}

void write_png(const std::string& path, std::int64_t width, std::int64_t height, const PngKind& kind) {
  std::FILE* file = create(path);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  const int colours = kind.grey ? 1 : 3, samples = colours + (kind.alpha ? 1 : 0);
  const int type = (kind.grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB) | (kind.alpha ? PNG_COLOR_MASK_ALPHA : 0);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), kind.bits, type,
               kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const int passes = png_set_interlace_handling(png);
  std::vector<std::uint8_t> row(at(width * samples * kind.bits / 8));
  for (int pass = 0; pass < passes; ++pass)
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x)
        for (int c = 0; c < samples; ++c)
          put(row, x * samples + c, c < colours ? pixel(x, y, c) : x < width / 2 ? 0 : 255, kind.bits, true);
      png_write_row(png, row.data());
    }
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

void write_jpeg(const std::string& path, std::int64_t width, std::int64_t height, JpegKind kind) {
  std::FILE* file = create(path);
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_stdio_dest(&jpeg, file);
  const int samples = kind == JpegKind::grey ? 1 : kind == JpegKind::cmyk ? 4 : 3;
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = samples;
  jpeg.in_color_space = samples == 1 ? JCS_GRAYSCALE : samples == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 98, TRUE);
  if (kind == JpegKind::cmyk) jpeg.write_Adobe_marker = TRUE;
  for (int i = 0; i < samples; ++i) jpeg.comp_info[i].h_samp_factor = jpeg.comp_info[i].v_samp_factor = 1;
  if (kind == JpegKind::progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<std::uint8_t> row(at(width * samples));
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t i = 0; i < width * samples; ++i) {
      const int c = static_cast<int>(i % samples);
      row[at(i)] = c == 3 ? std::uint8_t{255} : pixel(i / samples, y, c);  // Adobe: 255 is no ink
    }
    std::uint8_t* rows = row.data();
    jpeg_write_scanlines(&jpeg, &rows, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::fclose(file);
}

namespace {

// Samples [c0, c1) of a block of the picture, right and bottom filled with zero.
std::vector<std::uint8_t> block(const TiffKind& k, std::int64_t width, std::int64_t height, std::int64_t x0,
                                std::int64_t y0, std::int64_t w, std::int64_t h, int c0, int c1) {
  std::vector<std::uint8_t> out(at(w * h * (c1 - c0) * k.bits / 8));
  for (std::int64_t y = y0; y < std::min(y0 + h, height); ++y)
    for (std::int64_t x = x0; x < std::min(x0 + w, width); ++x)
      for (int c = c0; c < c1; ++c) {
        const bool clear = x < width / 2;
        const int v = c == 3 ? (clear ? 0 : 255) : k.samples == 4 && k.premultiplied && clear ? 0 : pixel(x, y, c);
        put(out, ((y - y0) * w + x - x0) * (c1 - c0) + c - c0, v, k.bits, false);
      }
  return out;
}

void write_page(TIFF* t, std::int64_t width, std::int64_t height, const TiffKind& k, int c0, int c1) {
  const int samples = c1 - c0;
  TIFFSetField(t, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(width));
  TIFFSetField(t, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(height));
  TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, k.bits);
  TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, samples);
  TIFFSetField(t, TIFFTAG_COMPRESSION, k.compression);
  TIFFSetField(t, TIFFTAG_PHOTOMETRIC, samples == 1 || k.minisblack ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB);
  TIFFSetField(t, TIFFTAG_PLANARCONFIG, k.planes ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  if (samples == 4) {
    std::uint16_t extra = k.premultiplied ? EXTRASAMPLE_ASSOCALPHA : EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(t, TIFFTAG_EXTRASAMPLES, 1, &extra);
  }
  std::int64_t w = width, h = k.rows_per_strip ? k.rows_per_strip : height;
  if (k.tile) {
    w = h = k.tile;
    TIFFSetField(t, TIFFTAG_TILEWIDTH, k.tile);
    TIFFSetField(t, TIFFTAG_TILELENGTH, k.tile);
  } else {
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, static_cast<std::uint32_t>(h));
  }
  for (int p = 0; p < (k.planes ? samples : 1); ++p)
    for (std::int64_t y = 0; y < height; y += h)
      for (std::int64_t x = 0; x < width; x += w) {
        const int from = k.planes ? p : c0, to = k.planes ? p + 1 : c1;
        const std::int64_t rows = k.tile ? h : std::min(h, height - y);
        auto b = block(k, width, height, x, y, w, rows, from, to);
        const auto ux = static_cast<std::uint32_t>(x), uy = static_cast<std::uint32_t>(y);
        const auto up = static_cast<std::uint16_t>(p);
        const auto n = static_cast<tmsize_t>(b.size());
        const auto written = k.tile ? TIFFWriteEncodedTile(t, TIFFComputeTile(t, ux, uy, 0, up), b.data(), n)
                                    : TIFFWriteEncodedStrip(t, TIFFComputeStrip(t, uy, up), b.data(), n);
        check(written >= 0, "made images", "libtiff wrote nothing");
      }
  TIFFWriteDirectory(t);
}

}  // namespace

void write_tiff(const std::string& path, std::int64_t width, std::int64_t height, const TiffKind& k) {
  TIFF* t = TIFFOpen(path.c_str(), k.big ? "w8" : "w");
  check(t != nullptr, "made images", "cannot write {}", path);
  if (k.rows) {  // row c: the whole plane c, as H pixels of W samples
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(height));
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, 3U);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, k.bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(width));
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 3U);
    for (int c = 0; c < 3; ++c) {
      auto plane = block(k, width, height, 0, 0, width, height, c, c + 1);
      TIFFWriteScanline(t, plane.data(), static_cast<std::uint32_t>(c), 0);
    }
  } else if (k.pages) {
    for (int c = 0; c < 3; ++c) write_page(t, width, height, k, c, c + 1);
  } else {
    write_page(t, width, height, k, 0, k.samples);
  }
  TIFFClose(t);
}

}  // namespace spn::test
