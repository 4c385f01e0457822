// SlideReader: what `prepare` needs from a format. One implementation a format; open_reader knows them all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/schema/slide.h"

namespace spn::data {

class SlideReader {
 public:
  virtual ~SlideReader() = default;
  // All slides of the folder, sorted by name, from names and metadata alone. Files may be missing.
  virtual std::vector<SlideInfo> list() = 0;
  // Data error when one of the slide's files is missing: asked of every chosen slide before any is read.
  virtual void require_files(const SlideInfo& slide) = 0;
  // One slide with raw counts: joined, duplicate genes merged. Empty spots and spots outside the image are still in it.
  virtual Slide read(const SlideInfo& slide) = 0;
};

// What --format accepts.
const std::vector<std::string>& reader_formats();

// pitch_um: centre-to-centre distance given by the user; 0: as the technology has it.
// Usage error for an unknown format (with those there are); data error when the folder is not of that format.
std::unique_ptr<SlideReader> open_reader(const std::string& format, const std::string& folder, double pitch_um);

}  // namespace spn::data
