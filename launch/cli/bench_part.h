// bench part: one encoder alone, as compare_step.py sets it beside PyTorch.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

// One line of JSON and one of text.
int run_bench_part(dist::Comm& world, const std::vector<std::string>& args);

}  // namespace spn::cli
