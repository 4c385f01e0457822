#include "launch/bench/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/json.h"
#include "kernels/timing.h"

namespace spn::bench {

void start_profile(Device device) {
  if (device.type == DeviceType::cpu)
    kernels::profile_start();
  else
    kernels::profile_start_on_device();
}

std::string profile_lines(const std::vector<kernels::ProfileRow>& rows, double seconds, std::int64_t steps,
                          const Rates& rates) {
  constexpr std::size_t kInJson = 15;
  std::string text;
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  double rest = 1, floor = 0;
  for (const auto& row : rows) {
    const double ms = row.seconds / static_cast<double>(steps) * 1e3, share = row.seconds / seconds;
    const std::int64_t calls = row.calls / steps;
    const double at_least = std::max(row.seconds, 1e-12);  // of a clock too coarse
    const double gb = row.work.bytes / at_least * 1e-9, gflop = row.work.flops / at_least * 1e-9;
    const double of_copy = gb / rates.copy_gb_per_s, of_matmul = gflop / rates.matmul_gflops;
    const bool memory = of_copy >= of_matmul;
    text += fmt::format(
        "  {:<22} {:>8.2f} ms a step {:>5.1f} %  {:>5} calls  {:>7.1f} GB/s {:>9.1f} GFLOP/s  {} {:.0f} %\n", row.entry,
        ms, 100 * share, calls, gb, gflop, memory ? "memory" : "products", 100 * std::max(of_copy, of_matmul));
    rest -= share;
    floor += share * std::min(1.0, std::max(of_copy, of_matmul));
    if (entries.size() < kInJson)
      entries.push_back({{"entry", row.entry},
                         {"ms_a_step", ms},
                         {"share", share},
                         {"calls", calls},
                         {"gb_per_s", gb},
                         {"gflop_per_s", gflop},
                         {"bound", memory ? "memory" : "products"},
                         {"of_bound", std::max(of_copy, of_matmul)}});
  }
  text += fmt::format(
      "  of a copy's {:.1f} GB/s and a product's {:.1f} GFLOP/s; at those, all would take {:.0f} % of the time\n",
      rates.copy_gb_per_s, rates.matmul_gflops, 100 * floor);
  const nlohmann::ordered_json j = {{"bench", "profile"},
                                    {"ms_a_step", seconds / static_cast<double>(steps) * 1e3},
                                    {"outside_entries", rest},
                                    {"copy_gb_per_s", rates.copy_gb_per_s},
                                    {"matmul_gflops", rates.matmul_gflops},
                                    {"floor", floor},
                                    {"entries", entries}};
  return text + json_text(j) + "\n";
}

}  // namespace spn::bench
