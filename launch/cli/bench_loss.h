// bench loss: the contrastive loss, forward and backward.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

// One line of JSON and one of text. Collective.
int run_bench_loss(dist::Comm& world, const std::vector<std::string>& args);

}  // namespace spn::cli
