#include "launch/cli/bench_kernels.h"

#include <iostream>

#include "engine/core/check.h"
#include "engine/core/json.h"
#include "launch/bench/kernels.h"
#include "launch/cli/device.h"
#include "launch/cli/options.h"
#include "launch/cli/threads.h"
#include "launch/cli/version.h"

namespace spn::cli {

int run_bench_kernels(dist::Comm& world, const std::vector<std::string>& args) {
  bench::KernelCase what;
  std::int64_t repeats = 20;
  Options options("bench kernels",
                  "Times kernels against a copy on the same device: on a GPU every rung of a ladder, from naive to "
                  "what ships, each checked against the CPU first; on the CPU what ships.");
  options.add("elements", &what.elements,
              "of the largest array; 0: 2^26 on a GPU, for adamw as many as the full model has, and 2^22 on the CPU");
  options.add("repeats", &repeats, "timed runs, three of what takes long; their median counts");
  options.add("only", &what.only, "one kernel, by its name in the table; empty: all");
  Precision precision;
  DeviceChoice device;
  device.add_to(options);
  if (!options.parse(args, std::cout)) return exit_ok;
  if (world.size() != 1) fail_usage("bench", "bench kernels times one rank, got {}; leave mpirun out", world.size());
  if (repeats < 1 || repeats > 100000) fail_usage("bench kernels", "expected --repeats in 1 … 100000, got {}", repeats);
  device.open(world, precision);
  what.device = device.device();
  what.repeats = static_cast<int>(repeats);
  const int threads = settle_threads();

  std::string lines;
  const double copy = bench::measure_kernels(what, [&](const bench::RungFigure& r, double copy_gb_per_s) {
    const nlohmann::ordered_json j = {{"bench", "kernels"},
                                      {"version", version()},
                                      {"threads", threads},
                                      {"device", device.description()},
                                      {"kernel", r.kernel},
                                      {"about", r.about},
                                      {"rung", r.rung},
                                      {"shipped", r.shipped},
                                      {"elements", r.elements},
                                      {"bytes", r.bytes},
                                      {"seconds", r.seconds},
                                      {"gb_per_s", r.gb_per_s},
                                      {"copy_gb_per_s", copy_gb_per_s},
                                      {"of_copy", r.of_copy},
                                      {"worst_error_of_allowed", r.worst},
                                      {"repeats", r.repeats}};
    std::cout << json_text(j) << std::endl;  // read by whoever ends this run before it is done
    lines += fmt::format("{:<22} {:<32} {:>10.1f} {:>9.1f} {:>7.1f} %\n", r.kernel, r.rung, r.seconds * 1e6, r.gb_per_s,
                         r.of_copy * 100);
  });
  std::cout << fmt::format("{:<22} {:<32} {:>10} {:>9} {:>8}\n", "kernel", "rung", "us", "GB/s", "of copy");
  std::cout << lines
            << fmt::format("copy on the device: {:.1f} GB/s, read and written; medians of at most {}\n", copy,
                           what.repeats);
  return exit_ok;
}

}  // namespace spn::cli
