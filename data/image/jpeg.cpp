// JPEG rows through libjpeg. Its errors leave by longjmp, so every function that calls it holds no C++ objects.
// clang-format off
#include <cstdio>  // jpeglib.h needs it
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <csetjmp>
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

struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  Errors* e = reinterpret_cast<Errors*>(info->err);
  e->base.format_message(info, e->message);
  std::longjmp(e->jump, 1);
}

// libjpeg fills what a truncated file lacks with grey and only warns: for us that is an error.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  ++info->err->num_warnings;
  const int code = info->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE) on_error(info);
}

class JpegDecoder final : public RowDecoder {
 public:
  JpegDecoder(const std::string& path, std::int64_t reduction) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
    if (!file_) fail_data("image", "cannot open {}: the file is missing or unreadable", path);
    jpeg_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    if (!read_header(reduction)) {
      jpeg_destroy_decompress(&jpeg_);
      fail_data("image", "{}: damaged JPEG header: {}", path_, errors_.message);
    }
    quiet_ = reduction > 1;
    if (jpeg_.out_color_space == JCS_CMYK) cmyk_.resize(static_cast<std::size_t>(jpeg_.output_width) * 4);
  }
  ~JpegDecoder() override { jpeg_destroy_decompress(&jpeg_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  std::int64_t width() const override { return jpeg_.output_width; }
  std::int64_t height() const override { return jpeg_.output_height; }

  void next(std::uint8_t* rgb) override {
    if (!started_ && !quiet_ && jpeg_has_multiple_scans(&jpeg_))
      log::warn("[image] {} is a progressive JPEG: its {} x {} coefficients are held whole", path_, jpeg_.output_width,
                jpeg_.output_height);
    if (!read_row(cmyk_.empty() ? rgb : cmyk_.data()))
      fail_data("image", "{}: damaged or truncated JPEG at row {} of {}: {}; fetch it again", path_,
                jpeg_.output_scanline, jpeg_.output_height, errors_.message);
    // Adobe writes CMYK inverted: 255 is no ink
    for (std::size_t i = 0; i < cmyk_.size(); i += 4)
      for (std::size_t c = 0; c < 3; ++c) {
        const int ink = jpeg_.saw_Adobe_marker ? cmyk_[i + c] : 255 - cmyk_[i + c];
        const int black = jpeg_.saw_Adobe_marker ? cmyk_[i + 3] : 255 - cmyk_[i + 3];
        rgb[i / 4 * 3 + c] = static_cast<std::uint8_t>((ink * black + 127) / 255);
      }
  }

 private:
  bool read_header(std::int64_t reduction) {
    if (setjmp(errors_.jump)) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_stdio_src(&jpeg_, file_.get());
    jpeg_read_header(&jpeg_, TRUE);
    const bool inks = jpeg_.jpeg_color_space == JCS_CMYK || jpeg_.jpeg_color_space == JCS_YCCK;
    jpeg_.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_.scale_num = 1;
    jpeg_.scale_denom = reduction >= 8 ? 8 : reduction >= 4 ? 4 : reduction >= 2 ? 2 : 1;
    jpeg_calc_output_dimensions(&jpeg_);
    return true;
  }

  bool read_row(std::uint8_t* row) {
    if (setjmp(errors_.jump)) return false;
    if (!started_) jpeg_start_decompress(&jpeg_);  // a progressive file is read to its end here
    started_ = true;
    jpeg_read_scanlines(&jpeg_, &row, 1);
    return true;
  }

  std::string path_;
  Handle<std::FILE*, nullptr, CloseFile> file_;
  jpeg_decompress_struct jpeg_{};
  Errors errors_{};
  std::vector<std::uint8_t> cmyk_;
  bool started_ = false, quiet_ = false;
};

}  // namespace

std::unique_ptr<RowDecoder> decode_jpeg(const std::string& path, std::int64_t reduction) {
  return std::make_unique<JpegDecoder>(path, reduction);
}

}  // namespace spn::data
