#include "launch/bench/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/profile.h"

namespace spn::bench {

std::string profile_lines(double seconds, std::int64_t steps) {
  std::string text;
  for (const auto& row : kernels::profile_stop())
    text += fmt::format("  {:<22} {:>7.2f} ms a step {:>5.1f} %  {:>5} calls\n", row.entry,
                        row.seconds / static_cast<double>(steps) * 1e3, 100 * row.seconds / seconds, row.calls / steps);
  return text;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

}  // namespace spn::bench
