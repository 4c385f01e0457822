// TIFF and BigTIFF by region through libtiff: tiles, strips, planes in one page or in three, 8 and 16 bits. Blocks that
// may still be needed are kept. What libtiff alone can convert (palettes, CMYK, fewer bits) goes through its RGBA
// calls.
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "data/image/rows.h"
#include "engine/core/check.h"
#include "engine/core/handle.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

struct CloseTiff {
  void operator()(TIFF* t) const noexcept { TIFFClose(t); }
};
using Tiff = Handle<TIFF*, nullptr, CloseTiff>;

constexpr std::int64_t kLargeStrip = std::int64_t{16} << 20;  // bytes of RGB; larger strips are read row by row
constexpr std::int64_t kVirtualRows = 64;

int on_error(TIFF*, void* text, const char* module, const char* format, va_list args) {
  char line[300];
  std::vsnprintf(line, sizeof line, format, args);
  *static_cast<std::string*>(text) = std::string(module ? module : "") + ": " + line;
  return 1;
}
int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }  // private tags of scanners

Tiff open_handle(const std::string& path, std::string* error, unsigned page) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, error);
  TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, nullptr);
  Tiff t(TIFFOpenExt(path.c_str(), "rm", options));
  TIFFOpenOptionsFree(options);
  if (!t || (page > 0 && !TIFFSetDirectory(t.get(), static_cast<tdir_t>(page))))
    fail_data("image", "{}: damaged or truncated TIFF: {}; fetch it again", path, *error);
  return t;
}

template <class T>
T tag(const Tiff& t, std::uint32_t which, T fallback) {
  T v{};
  return TIFFGetFieldDefaulted(t.get(), which, &v) ? v : fallback;
}

struct Page {
  std::uint32_t width, height;
  std::uint16_t bits, samples, photometric, format, planar, compression;
  explicit Page(const Tiff& t)
      : width(tag<std::uint32_t>(t, TIFFTAG_IMAGEWIDTH, 0)),
        height(tag<std::uint32_t>(t, TIFFTAG_IMAGELENGTH, 0)),
        bits(tag<std::uint16_t>(t, TIFFTAG_BITSPERSAMPLE, 1)),
        samples(tag<std::uint16_t>(t, TIFFTAG_SAMPLESPERPIXEL, 1)),
        photometric(tag<std::uint16_t>(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK)),
        format(tag<std::uint16_t>(t, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT)),
        planar(tag<std::uint16_t>(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG)),
        compression(tag<std::uint16_t>(t, TIFFTAG_COMPRESSION, COMPRESSION_NONE)) {}
};

// Three grey pages of one size: a (3, H, W) array.
bool three_planes(const Tiff& t, const Page& first) {
  if (first.samples != 1 || first.photometric != PHOTOMETRIC_MINISBLACK || TIFFNumberOfDirectories(t.get()) != 3)
    return false;
  bool same = true;
  for (tdir_t i = 1; same && i < 3; ++i) {
    same = TIFFSetDirectory(t.get(), i) != 0;
    const Page p(t);
    same = same && p.width == first.width && p.height == first.height && p.bits == first.bits && p.samples == 1 &&
           (tag<std::uint32_t>(t, TIFFTAG_SUBFILETYPE, 0) & FILETYPE_REDUCEDIMAGE) == 0;
  }
  TIFFSetDirectory(t.get(), 0);
  return same;
}

class TiffSource final : public ImageSource {
 public:
  explicit TiffSource(const std::string& path, bool quiet = false) : path_(path) {
    planes_.push_back({open_handle(path, &error_, 0), 0, 0});
    const Page page(planes_[0].file);
    width_ = page.width;
    height_ = page.height;
    if (width_ <= 0 || height_ <= 0) fail_data("image", "{}: a TIFF of {} x {} px", path, width_, height_);
    bytes_ = page.bits / 8;
    const bool plain = page.photometric == PHOTOMETRIC_RGB || page.photometric == PHOTOMETRIC_MINISBLACK ||
                       page.photometric == PHOTOMETRIC_MINISWHITE;
    const bool ycbcr_jpeg = page.photometric == PHOTOMETRIC_YCBCR && page.compression == COMPRESSION_JPEG &&
                            page.planar == PLANARCONFIG_CONTIG;
    const bool sized = (page.bits == 8 || page.bits == 16) && page.format == SAMPLEFORMAT_UINT;
    inverted_ = page.photometric == PHOTOMETRIC_MINISWHITE;
    samples_ = page.samples;
    if (!TIFFIsCODECConfigured(page.compression))
      fail_data("image", "{}: TIFF compression {} is not known here; convert it to deflate or LZW", path,
                page.compression);
    if (ycbcr_jpeg) TIFFSetField(planes_[0].file.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);

    if (sized && plain && page.height == 3 && page.samples > 4 && page.planar == PLANARCONFIG_CONTIG) {
      width_ = page.samples;
      height_ = page.width;
      read_rows_as_planes(quiet);
      return;
    }
    if (sized && three_planes(planes_[0].file, page)) {
      for (unsigned i = 1; i < 3; ++i) planes_.push_back({open_handle(path, &error_, i), 0, 0});
      samples_ = 3;
    } else if (sized && plain && page.planar == PLANARCONFIG_SEPARATE && page.samples > 1) {
      // a handle a plane: libtiff decodes strips row by row, and going back and forth would begin each anew
      for (std::uint16_t i = 1; i < std::min<std::uint16_t>(page.samples, 4); ++i)
        planes_.push_back({open_handle(path, &error_, 0), i, 0});
    } else if (!(sized && (plain || ycbcr_jpeg))) {
      char why[1024] = "";
      if (!TIFFRGBAImageOK(planes_[0].file.get(), why))
        fail_data("image", "{}: expected a TIFF of 8 or 16 bit colours, got {} bits (format {}): {}; convert it", path,
                  page.bits, page.format, why);
      converted_ = true;
    }
    alpha_ = find_alpha(planes_[0].file);
    set_blocks(quiet);
  }

  std::string format() const override { return tiled_ ? "tiled TIFF" : "TIFF"; }

  void read(const Rect& r, std::uint8_t* out, std::int64_t stride) override {
    check(r.left >= 0 && r.top >= 0 && r.left + r.width <= width_ && r.top + r.height <= height_, "image",
          "expected a region inside {} x {} px, got {} x {} px at ({}, {})", width_, height_, r.width, r.height, r.left,
          r.top);
    for (std::int64_t by = r.top / block_h_; by * block_h_ < r.top + r.height; ++by)
      for (std::int64_t bx = r.left / block_w_; bx * block_w_ < r.left + r.width; ++bx) {
        const std::vector<std::uint8_t>& b = block(by, bx);
        const std::int64_t x0 = std::max(r.left, bx * block_w_), x1 = std::min(r.left + r.width, (bx + 1) * block_w_);
        const std::int64_t y1 = std::min(r.top + r.height, (by + 1) * block_h_);
        for (std::int64_t y = std::max(r.top, by * block_h_); y < y1; ++y)
          std::memcpy(out + (y - r.top) * stride + (x0 - r.left) * 3,
                      &b[static_cast<std::size_t>(((y - by * block_h_) * block_w_ + x0 - bx * block_w_) * 3)],
                      static_cast<std::size_t>((x1 - x0) * 3));
      }
  }

  void release_above(std::int64_t y) override {
    if (whole_) return;
    blocks_.erase(blocks_.begin(), blocks_.lower_bound({y / block_h_, 0}));
  }

  std::int64_t held_bytes() const override {
    return static_cast<std::int64_t>(blocks_.size()) * block_w_ * block_h_ * 3;
  }

  std::vector<std::uint8_t> sample() const override {
    TiffSource other(path_, true);
    const std::int64_t rows = (height_ + block_h_ - 1) / block_h_, columns = (width_ + block_w_ - 1) / block_w_;
    // about 16 x 16 blocks; row by row strips cannot skip rows anyway
    const std::int64_t sy = std::max<std::int64_t>(1, rows / 16), sx = std::max<std::int64_t>(1, columns / 16);
    const std::int64_t step = std::max<std::int64_t>(1, sample_step(width_, height_) / std::max(sx, sy));
    std::vector<std::uint8_t> out;
    for (std::int64_t by = 0; by < rows; by += sy) {
      for (std::int64_t bx = 0; bx < columns; bx += sx) {
        const std::vector<std::uint8_t>& b = other.block(by, bx);
        for (std::int64_t y = 0; y < std::min(block_h_, height_ - by * block_h_); y += step)
          for (std::int64_t x = 0; x < std::min(block_w_, width_ - bx * block_w_); x += step)
            out.insert(out.end(), b.begin() + (y * block_w_ + x) * 3, b.begin() + (y * block_w_ + x) * 3 + 3);
      }
      other.release_above((by + 1) * block_h_);
    }
    return out;
  }

 private:
  struct Plane {
    Tiff file;
    std::uint16_t sample;
    std::int64_t next = 0;  // row after the one read last, when strips are read row by row
  };
  enum class Alpha { none, straight, premultiplied };

  [[noreturn]] void fail_block(std::int64_t y) const {
    fail_data("image", "{}: damaged or truncated TIFF near row {}: {}; fetch it again", path_, y, error_);
  }

  // The fourth sample of colours and the second of greys, when the file says that it is transparency.
  Alpha find_alpha(const Tiff& t) const {
    std::uint16_t n = 0;
    std::uint16_t* kinds = nullptr;
    if (samples_ != 2 && samples_ != 4) return Alpha::none;
    if (!TIFFGetField(t.get(), TIFFTAG_EXTRASAMPLES, &n, &kinds) || n < 1) return Alpha::none;
    return kinds[0] == EXTRASAMPLE_UNASSALPHA   ? Alpha::straight
           : kinds[0] == EXTRASAMPLE_ASSOCALPHA ? Alpha::premultiplied
                                                : Alpha::none;
  }

  void set_blocks(bool quiet) {
    TIFF* t = planes_[0].file.get();
    tiled_ = TIFFIsTiled(t) != 0;
    block_w_ = width_;
    block_h_ = tag<std::uint32_t>(planes_[0].file, TIFFTAG_ROWSPERSTRIP, 0);
    if (tiled_) {
      block_w_ = tag<std::uint32_t>(planes_[0].file, TIFFTAG_TILEWIDTH, 0);
      block_h_ = tag<std::uint32_t>(planes_[0].file, TIFFTAG_TILELENGTH, 0);
    }
    if (block_w_ <= 0 || block_h_ <= 0) fail_data("image", "{}: damaged TIFF: blocks of no size", path_);
    if (tiled_) return;
    block_h_ = std::min(block_h_, height_);
    if (block_w_ * block_h_ * 3 <= kLargeStrip) return;
    if (converted_) {
      if (!quiet) log::warn("[image] {}: its strips of {} rows are converted whole", path_, block_h_);
    } else {
      by_row_ = true;
      strip_rows_ = block_h_;
      block_h_ = kVirtualRows;
    }
  }

  // A file whose three rows are the planes and whose samples are the columns.
  void read_rows_as_planes(bool quiet) {
    whole_ = true;
    block_w_ = width_;
    block_h_ = height_;
    if (!quiet)
      log::warn("[image] {} keeps its planes as three rows: its {} x {} px are held whole", path_, width_, height_);
    std::vector<std::uint8_t>& b = blocks_[{0, 0}];
    b.resize(static_cast<std::size_t>(width_ * height_ * 3));
    std::vector<std::uint8_t> raw(static_cast<std::size_t>(TIFFScanlineSize(planes_[0].file.get())));
    for (std::uint32_t c = 0; c < 3; ++c) {
      if (TIFFReadScanline(planes_[0].file.get(), raw.data(), c, 0) < 0) fail_block(c);
      for (std::int64_t i = 0; i < width_ * height_; ++i)
        b[static_cast<std::size_t>(i * 3 + c)] = eight_bits(raw.data(), static_cast<std::size_t>(i));
    }
  }

  std::uint8_t eight_bits(const std::uint8_t* raw, std::size_t i) const {
    if (bytes_ == 1) return raw[i];
    std::uint16_t v;
    std::memcpy(&v, raw + 2 * i, 2);
    return static_cast<std::uint8_t>((v + 128) / 257);
  }

  const std::vector<std::uint8_t>& block(std::int64_t by, std::int64_t bx) {
    const auto [it, fresh] = blocks_.try_emplace({by, bx});
    if (fresh) {
      try {
        it->second.resize(static_cast<std::size_t>(block_w_ * block_h_ * 3));
        converted_ ? convert_block(by, bx, it->second) : decode_block(by, bx, it->second);
      } catch (...) {
        blocks_.erase(it);
        throw;
      }
    }
    return it->second;
  }

  // libtiff's own conversion to RGBA: rows from the bottom up, colours premultiplied.
  void convert_block(std::int64_t by, std::int64_t bx, std::vector<std::uint8_t>& out) {
    const auto x0 = static_cast<std::uint32_t>(bx * block_w_), y0 = static_cast<std::uint32_t>(by * block_h_);
    std::vector<std::uint32_t> rgba(static_cast<std::size_t>(block_w_ * block_h_));
    TIFF* t = planes_[0].file.get();
    if (!(tiled_ ? TIFFReadRGBATileExt(t, x0, y0, rgba.data(), 1) : TIFFReadRGBAStripExt(t, y0, rgba.data(), 1)))
      fail_block(y0);
    const std::int64_t rows = tiled_ ? block_h_ : std::min(block_h_, height_ - by * block_h_);
    for (std::int64_t y = 0; y < rows; ++y)
      for (std::int64_t x = 0; x < block_w_; ++x) {
        const std::uint32_t p = rgba[static_cast<std::size_t>((rows - 1 - y) * block_w_ + x)];
        const std::uint32_t white = 255 - TIFFGetA(p);
        std::uint8_t* to = &out[static_cast<std::size_t>((y * block_w_ + x) * 3)];
        to[0] = static_cast<std::uint8_t>(std::min(255U, TIFFGetR(p) + white));
        to[1] = static_cast<std::uint8_t>(std::min(255U, TIFFGetG(p) + white));
        to[2] = static_cast<std::uint8_t>(std::min(255U, TIFFGetB(p) + white));
      }
  }

  // Rows [first, first + n) into raw_. Compressed strips have no random access: rows before them are read and dropped.
  bool read_lines(Plane& p, std::int64_t first, std::int64_t n) {
    const auto line = static_cast<std::size_t>(TIFFScanlineSize(p.file.get()));
    raw_.resize(line * static_cast<std::size_t>(n));
    const std::int64_t strip = first / strip_rows_ * strip_rows_;
    std::int64_t y = p.next >= strip && p.next <= first ? p.next : strip;
    for (; y < first + n; ++y)
      if (TIFFReadScanline(p.file.get(), &raw_[line * static_cast<std::size_t>(std::max<std::int64_t>(y - first, 0))],
                           static_cast<std::uint32_t>(y), p.sample) < 0)
        return false;
    p.next = y;
    return true;
  }

  // Raw samples of one plane's block; `rows` of them are real.
  void read_raw(Plane& p, std::int64_t by, std::int64_t bx, std::int64_t rows) {
    TIFF* t = p.file.get();
    const auto x0 = static_cast<std::uint32_t>(bx * block_w_), y0 = static_cast<std::uint32_t>(by * block_h_);
    bool ok = true;
    if (tiled_) {
      raw_.resize(static_cast<std::size_t>(TIFFTileSize(t)));
      ok = TIFFReadEncodedTile(t, TIFFComputeTile(t, x0, y0, 0, p.sample), raw_.data(), -1) >= 0;
    } else if (by_row_) {
      ok = read_lines(p, y0, rows);
    } else {
      raw_.resize(static_cast<std::size_t>(TIFFStripSize(t)));
      ok = TIFFReadEncodedStrip(t, TIFFComputeStrip(t, y0, p.sample), raw_.data(), -1) >= 0;
    }
    if (!ok) fail_block(y0);
  }

  void decode_block(std::int64_t by, std::int64_t bx, std::vector<std::uint8_t>& out) {
    const std::int64_t rows = std::min(block_h_, height_ - by * block_h_);
    const auto n = static_cast<std::size_t>(rows * block_w_);
    const std::size_t colours = samples_ >= 3 ? 3 : 1;  // grey: one
    const bool joined = planes_.size() == 1;
    std::vector<std::uint8_t> alpha(alpha_ == Alpha::none ? 0 : n);
    for (std::size_t s = 0; s < colours + (alpha.empty() ? 0 : 1); ++s) {
      if (s == 0 || !joined) read_raw(planes_[joined ? 0 : s], by, bx, rows);
      const std::size_t step = joined ? static_cast<std::size_t>(samples_) : 1, first = joined ? s : 0;
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint8_t v = eight_bits(raw_.data(), i * step + first);
        if (s == colours)
          alpha[i] = v;
        else
          out[i * 3 + s] = inverted_ ? static_cast<std::uint8_t>(255 - v) : v;
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      std::uint8_t* p = &out[i * 3];
      if (colours == 1) p[1] = p[2] = p[0];
      if (alpha.empty()) continue;
      const int a = alpha[i], white = 255 * (255 - a);
      for (int c = 0; c < 3; ++c)
        p[c] = static_cast<std::uint8_t>(alpha_ == Alpha::straight ? (p[c] * a + white + 127) / 255
                                                                   : std::min(255, p[c] + 255 - a));
    }
  }

  std::string path_, error_;
  std::vector<Plane> planes_;
  int bytes_ = 1, samples_ = 1;
  Alpha alpha_ = Alpha::none;
  bool inverted_ = false, converted_ = false, tiled_ = false, by_row_ = false, whole_ = false;
  std::int64_t block_w_ = 0, block_h_ = 0, strip_rows_ = 0;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::uint8_t>> blocks_;  // (block row, column)
  std::vector<std::uint8_t> raw_;
};

}  // namespace

std::unique_ptr<ImageSource> open_tiff(const std::string& path) { return std::make_unique<TiffSource>(path); }

}  // namespace spn::data
