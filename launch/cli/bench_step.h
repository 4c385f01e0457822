// bench step: the training step on random data, as pretrain runs it.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

// One line of JSON and one of text.
int run_bench_step(dist::Comm& world, const std::vector<std::string>& args);

}  // namespace spn::cli
