// PNG rows through libpng. Its errors leave by longjmp, so every function that calls it holds no C++ objects.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "data/image/rows.h"
#include "engine/core/check.h"
#include "engine/core/handle.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

struct CloseFile {
  void operator()(std::FILE* f) const noexcept { std::fclose(f); }
};

struct Failure {
  char text[200];
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  std::snprintf(failure->text, sizeof failure->text, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}  // ancillary chunks: colours of the pixels are not touched by them

class PngDecoder final : public RowDecoder {
 public:
  PngDecoder(const std::string& path, bool quiet) : path_(path), file_(std::fopen(path.c_str(), "rb")), quiet_(quiet) {
    if (!file_) fail_data("image", "cannot open {}: the file is missing or unreadable", path);
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure_, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_ || !start()) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      fail_data("image", "{}: damaged PNG header: {}", path_, failure_.text);
    }
    row_.resize(static_cast<std::size_t>(width()) * channels());
  }
  ~PngDecoder() override { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  std::int64_t width() const override { return png_get_image_width(png_, info_); }
  std::int64_t height() const override { return png_get_image_height(png_, info_); }
  std::int64_t held_bytes() const override { return static_cast<std::int64_t>(whole_.size()); }

  void next(std::uint8_t* rgb) override {
    if (interlaced_ && whole_.empty()) read_whole();
    const std::uint8_t* from = row_.data();
    if (interlaced_)
      from = &whole_[static_cast<std::size_t>(at_) * row_.size()];
    else if (!read_row(row_.data()))
      fail_row();
    if (++at_ == height() && !end()) fail_row();
    const auto n = static_cast<std::size_t>(width());
    if (channels() == 3) {
      std::memcpy(rgb, from, n * 3);
      return;
    }
    for (std::size_t i = 0; i < n; ++i) {  // transparent pixels on white
      const int alpha = from[i * 4 + 3];
      for (std::size_t c = 0; c < 3; ++c)
        rgb[i * 3 + c] = static_cast<std::uint8_t>((from[i * 4 + c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }

 private:
  std::size_t channels() const { return png_get_channels(png_, info_); }

  bool start() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_init_io(png_, file_.get());
    png_read_info(png_, info_);
    png_set_scale_16(png_);
    png_set_expand(png_);  // palettes, fewer than 8 bits, transparent colours
    png_set_gray_to_rgb(png_);
    interlaced_ = png_set_interlace_handling(png_) > 1;
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_row(std::uint8_t* row) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_row(png_, row, nullptr);
    return true;
  }

  // The checksums of what was read stand behind the last row.
  bool end() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_end(png_, nullptr);
    return true;
  }

  void read_whole() {
    if (!quiet_) log::warn("[image] {} is an interlaced PNG: its {} x {} px are held whole", path_, width(), height());
    whole_.resize(row_.size() * static_cast<std::size_t>(height()));
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass)
      for (at_ = 0; at_ < height(); ++at_)
        if (!read_row(&whole_[static_cast<std::size_t>(at_) * row_.size()])) fail_row();
    at_ = 0;
  }

  [[noreturn]] void fail_row() const {
    fail_data("image", "{}: damaged or truncated PNG at row {} of {}: {}; fetch it again", path_, at_, height(),
              failure_.text);
  }

  std::string path_;
  Handle<std::FILE*, nullptr, CloseFile> file_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Failure failure_{};
  bool interlaced_ = false, quiet_ = false;
  std::int64_t at_ = 0;
  std::vector<std::uint8_t> row_, whole_;  // whole_: interlaced images only
};

}  // namespace

std::unique_ptr<RowDecoder> decode_png(const std::string& path, std::int64_t reduction) {
  return std::make_unique<PngDecoder>(path, reduction > 1);
}

}  // namespace spn::data
