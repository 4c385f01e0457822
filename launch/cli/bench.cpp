// bench: timed parts, each a JSON line and a table.
#include <iostream>

#include "engine/core/check.h"
#include "launch/cli/bench_kernels.h"
#include "launch/cli/bench_loader.h"
#include "launch/cli/bench_loss.h"
#include "launch/cli/bench_part.h"
#include "launch/cli/bench_step.h"
#include "launch/cli/command.h"

namespace spn::cli {
namespace {

struct Bench {
  const char* name;
  int (*run)(dist::Comm&, const std::vector<std::string>&);
};
constexpr Bench kBenches[] = {{"step", run_bench_step},
                              {"part", run_bench_part},
                              {"loss", run_bench_loss},
                              {"loader", run_bench_loader},
                              {"kernels", run_bench_kernels}};

}  // namespace

int run_bench(dist::Comm& world, const std::vector<std::string>& args) {
  std::string names;
  for (const auto& b : kBenches) {
    if (!args.empty() && args[0] == b.name) return b.run(world, {args.begin() + 1, args.end()});
    names += (names.empty() ? "" : ", ") + std::string(b.name);
  }
  if (!args.empty() && (args[0] == "--help" || args[0] == "-h")) {
    std::cout << "usage: spotniche bench WHAT [--key value]...\nWHAT is one of " << names
              << "; each has its own --help\n";
    return exit_ok;
  }
  fail_usage("bench", "expected what to time first: one of {}", names);
}

}  // namespace spn::cli
