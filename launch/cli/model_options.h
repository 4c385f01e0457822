// The model's sizes as options: one section of a command's table.
#pragma once

#include "engine/models/config.h"
#include "launch/cli/options.h"

namespace spn::cli {

void add_model_options(Options& options, models::Config& config);

}  // namespace spn::cli
