// Which format a file is, by its first bytes; and the rolling band of rows for JPEG and PNG.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "data/image/rows.h"
#include "engine/core/check.h"
#include "engine/core/handle.h"

namespace spn::data {
namespace {

struct CloseFile {
  void operator()(std::FILE* f) const noexcept { std::fclose(f); }
};

bool begins(std::string_view head, std::string_view magic) { return head.starts_with(magic); }

// What a file is that cannot be read here, so that the message helps.
const char* hint(std::string_view head) {
  using namespace std::string_view_literals;
  if (begins(head, "version https://git-lfs")) return "a Git LFS pointer: fetch the file itself";
  if (begins(head, "\0\0\0\x0CjP  "sv) || begins(head, "\xFF\x4F\xFF\x51"sv)) return "JPEG 2000: convert it to TIFF";
  if (begins(head, "<")) return "HTML or XML: the download failed; fetch it again";
  if (begins(head, "PK\x03\x04"sv)) return "a zip archive: unpack it";
  if (begins(head, "\x1F\x8B"sv)) return "gzip: unpack it";
  return "of an unknown kind: fetch it again or convert it";
}

}  // namespace

std::unique_ptr<ImageSource> open_image(const std::string& path) {
  using namespace std::string_view_literals;
  const Handle<std::FILE*, nullptr, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail_data("image", "cannot open {}: the file is missing or unreadable", path);
  std::array<char, 24> bytes{};
  const std::string_view head(bytes.data(), std::fread(bytes.data(), 1, bytes.size(), file.get()));
  if (head.empty()) fail_data("image", "{} is empty; fetch it again", path);
  if (begins(head, "\x89PNG\r\n\x1A\n"sv)) return std::make_unique<RowSource>(path, "PNG", decode_png);
  if (begins(head, "\xFF\xD8\xFF"sv)) return std::make_unique<RowSource>(path, "JPEG", decode_jpeg);
  if (begins(head, "II*\0"sv) || begins(head, "MM\0*"sv) || begins(head, "II+\0"sv) || begins(head, "MM\0+"sv))
    return open_tiff(path);
  fail_data("image", "{}: expected PNG, JPEG or TIFF data, got a file {}", path, hint(head));
}

std::int64_t sample_step(std::int64_t width, std::int64_t height) {
  return std::max<std::int64_t>(1, std::min(width, height) / 512);
}

RowSource::RowSource(std::string path, std::string format, MakeDecoder make)
    : path_(std::move(path)), format_(std::move(format)), make_(make), decoder_(make(path_, 1)) {
  width_ = decoder_->width();
  height_ = decoder_->height();
}

void RowSource::read(const Rect& r, std::uint8_t* out, std::int64_t stride) {
  check(r.left >= 0 && r.top >= top_ && r.left + r.width <= width_ && r.top + r.height <= height_, "image",
        "expected a region inside {} x {} px below row {}, got {} x {} px at ({}, {})", width_, height_, top_, r.width,
        r.height, r.left, r.top);
  for (; next_ < r.top + r.height; ++next_) {
    if (spare_.empty()) spare_.emplace_back(static_cast<std::size_t>(width_ * 3));
    band_.push_back(std::move(spare_.back()));
    spare_.pop_back();
    decoder_->next(band_.back().data());
  }
  for (std::int64_t y = 0; y < r.height; ++y)
    std::memcpy(out + y * stride, band_[static_cast<std::size_t>(r.top + y - top_)].data() + r.left * 3,
                static_cast<std::size_t>(r.width * 3));
}

void RowSource::release_above(std::int64_t y) {
  y = std::min(y, height_);
  for (; top_ < y && !band_.empty(); ++top_) {
    spare_.push_back(std::move(band_.front()));
    band_.pop_front();
  }
  if (top_ >= y) return;
  if (spare_.empty()) spare_.emplace_back(static_cast<std::size_t>(width_ * 3));
  for (; next_ < y; ++next_) decoder_->next(spare_.back().data());
  top_ = y;
}

std::int64_t RowSource::held_bytes() const {
  return static_cast<std::int64_t>(band_.size() + spare_.size()) * width_ * 3 + decoder_->held_bytes();
}

std::vector<std::uint8_t> RowSource::sample() const {
  const std::int64_t step = sample_step(width_, height_);
  const auto decoder = make_(path_, step);
  // the decoder may have made the image smaller already
  const std::int64_t left = std::max<std::int64_t>(1, step * decoder->width() / width_);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(decoder->width() * 3)), out;
  for (std::int64_t y = 0; y < decoder->height(); ++y) {
    decoder->next(row.data());
    if (y % left != left / 2) continue;
    for (std::int64_t x = left / 2; x < decoder->width(); x += left)
      out.insert(out.end(), row.begin() + x * 3, row.begin() + x * 3 + 3);
  }
  return out;
}

}  // namespace spn::data
