// Formats that decode from the top down only: a RowDecoder gives rows, RowSource keeps the band of them still needed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "data/image/source.h"

namespace spn::data {

class RowDecoder {
 public:
  virtual ~RowDecoder() = default;
  virtual std::int64_t width() const = 0;
  virtual std::int64_t height() const = 0;
  // The next row, RGB [width * 3]. Data error when the file is damaged there.
  virtual void next(std::uint8_t* rgb) = 0;
  // Decoded bytes that the format forces this decoder to hold.
  virtual std::int64_t held_bytes() const { return 0; }
};

// reduction: the caller takes only about every reduction-th pixel, so a decoder may give an image that is smaller by up
// to that factor. 1: exact.
using MakeDecoder = std::unique_ptr<RowDecoder> (*)(const std::string& path, std::int64_t reduction);
std::unique_ptr<RowDecoder> decode_jpeg(const std::string& path, std::int64_t reduction);
std::unique_ptr<RowDecoder> decode_png(const std::string& path, std::int64_t reduction);

class RowSource final : public ImageSource {
 public:
  RowSource(std::string path, std::string format, MakeDecoder make);
  std::string format() const override { return format_; }
  void read(const Rect& rect, std::uint8_t* out, std::int64_t stride) override;
  void release_above(std::int64_t y) override;
  std::int64_t held_bytes() const override;
  std::vector<std::uint8_t> sample() const override;

 private:
  std::string path_, format_;
  MakeDecoder make_;
  std::unique_ptr<RowDecoder> decoder_;
  std::int64_t top_ = 0;                        // first row held
  std::int64_t next_ = 0;                       // first row not decoded yet
  std::deque<std::vector<std::uint8_t>> band_;  // rows [top_, next_)
  std::vector<std::vector<std::uint8_t>> spare_;
};

// Distance between sampled pixels: at least 512 of them along the shorter side when there are that many.
std::int64_t sample_step(std::int64_t width, std::int64_t height);

// The image in TIFF files; see tiff.cpp.
std::unique_ptr<ImageSource> open_tiff(const std::string& path);

}  // namespace spn::data
