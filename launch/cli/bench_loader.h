// bench loader: how fast random rows leave packs.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

// One line of JSON and one of text; collective, rates are summed over the ranks.
int run_bench_loader(dist::Comm& world, const std::vector<std::string>& args);

}  // namespace spn::cli
