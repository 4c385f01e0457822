// bench kernels: kernels rung by rung, beside a copy on the same device.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

// A line of JSON a rung, then a table.
int run_bench_kernels(dist::Comm& world, const std::vector<std::string>& args);

}  // namespace spn::cli
