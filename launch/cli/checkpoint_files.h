// What commands that read a checkpoint share: which folder is meant, and averaged weights.
#pragma once

#include <cstdint>
#include <string>

#include "engine/nn/registry.h"

namespace spn::cli {

// A run directory stands for its newest whole checkpoint, anything else for itself. Data error when it holds none.
std::string resolve_checkpoint(const std::string& path);

// Averages of folder/ema.safetensors in place of the values that a run ended with: of what was trained, so that frozen
// parameters stay. Of the names below prefix alone. Returns how many tensors; data error when there is no such file.
std::int64_t use_averages(const nn::Registry& registry, const std::string& folder, const std::string& prefix = "");
std::string averages_path(const std::string& folder);

}  // namespace spn::cli
