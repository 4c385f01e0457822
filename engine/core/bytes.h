// Sizes of memory as people read them.
#pragma once

#include <fmt/format.h>

#include <string>

namespace spn {

// "12.5 MiB".
inline std::string mebibytes(double bytes) { return fmt::format("{:.1f} MiB", bytes / (1024.0 * 1024.0)); }
inline std::string mebibytes(std::size_t bytes) { return mebibytes(static_cast<double>(bytes)); }

}  // namespace spn
