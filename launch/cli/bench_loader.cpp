#include "launch/cli/bench_loader.h"

#include <iostream>

#include "data/pack/verify.h"
#include "engine/core/check.h"
#include "engine/core/json.h"
#include "launch/bench/loader.h"
#include "launch/cli/options.h"
#include "launch/cli/version.h"

namespace spn::cli {

int run_bench_loader(dist::Comm& world, const std::vector<std::string>& args) {
  std::vector<std::string> paths;
  std::int64_t batch = 128;
  int threads = 1;
  double seconds = 3;
  std::uint64_t seed = 42;
  Options options(
      "bench loader",
      "Times random rows through pretraining's loader. Run it twice: the first pass over a cold file measures the "
      "disk, the next the page cache.");
  options.add("pack", &paths, "packs from `spotniche prepare`");
  options.add("batch", &batch, "rows a batch on each rank");
  options.add("threads", &threads, "reading threads of each rank");
  options.add("seconds", &seconds, "how long to read");
  options.add("seed", &seed, "of the order");
  options.require("pack");
  if (!options.parse(args, std::cout)) return exit_ok;
  if (batch < 1 || threads < 1 || !(seconds > 0))
    fail_usage("bench loader", "expected positive --batch, --threads and --seconds, got {}, {} and {}", batch, threads,
               seconds);

  const data::PackSet packs(paths);
  world.barrier();
  const auto mine =
      bench::measure_loader(packs, batch, threads, seconds, seed + static_cast<std::uint64_t>(world.rank()));
  double rates[2] = {mine.rows_per_s, mine.mb_per_s};
  world.all_reduce(host_view(rates, {2}));
  if (world.rank() != 0) return exit_ok;
  const std::int64_t bytes = data::row_bytes(packs.header());
  const nlohmann::ordered_json j = {{"bench", "loader"},      {"version", version()},    {"ranks", world.size()},
                                    {"threads", threads},     {"batch", batch},          {"rows", packs.rows()},
                                    {"row_bytes", bytes},     {"batches", mine.batches}, {"seconds", mine.seconds},
                                    {"rows_per_s", rates[0]}, {"mb_per_s", rates[1]}};
  std::cout << json_text(j) << "\n"
            << fmt::format(
                   "{:.0f} rows/s, {:.1f} MB/s: {} rank{} x {} thread{}, batches of {} from {} rows of {} bytes\n",
                   rates[0], rates[1], world.size(), world.size() > 1 ? "s" : "", threads, threads > 1 ? "s" : "",
                   batch, packs.rows(), bytes);
  return exit_ok;
}

}  // namespace spn::cli
