#include "launch/bench/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/json.h"
#include "kernels/profile.h"
#include "kernels/timing.h"

namespace spn::bench {

void start_profile(Device device) {
  if (device.type == DeviceType::cpu)
    kernels::profile_start();
  else
    kernels::profile_start_on_device();
}

std::string profile_lines(double seconds, std::int64_t steps) {
  constexpr std::size_t kInJson = 15;
  std::string text;
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  double rest = 1;
  for (const auto& row : kernels::profile_stop()) {
    const double ms = row.seconds / static_cast<double>(steps) * 1e3, share = row.seconds / seconds;
    const std::int64_t calls = row.calls / steps;
    text += fmt::format("  {:<22} {:>7.2f} ms a step {:>5.1f} %  {:>5} calls\n", row.entry, ms, 100 * share, calls);
    rest -= share;
    if (entries.size() < kInJson)
      entries.push_back({{"entry", row.entry}, {"ms_a_step", ms}, {"share", share}, {"calls", calls}});
  }
  const nlohmann::ordered_json j = {{"bench", "profile"},
                                    {"ms_a_step", seconds / static_cast<double>(steps) * 1e3},
                                    {"outside_entries", rest},
                                    {"entries", entries}};
  return text + json_text(j) + "\n";
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

}  // namespace spn::bench
