#include "data/readers/reader.h"

#include "data/readers/stimage_1k4m.h"
#include "engine/core/check.h"

namespace spn::data {

const std::vector<std::string>& reader_formats() {
  static const std::vector<std::string> formats{"stimage-1k4m"};
  return formats;
}

std::unique_ptr<SlideReader> open_reader(const std::string& format, const std::string& folder, double pitch_um) {
  if (format == "stimage-1k4m") return std::make_unique<Stimage1k4m>(folder, pitch_um);
  std::string known;
  for (const std::string& f : reader_formats()) known += (known.empty() ? "" : ", ") + f;
  fail_usage("prepare", "--format: expected one of {}, got '{}'", known, format);
}

}  // namespace spn::data
