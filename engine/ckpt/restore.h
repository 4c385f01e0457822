// Puts what a checkpoint holds into the tensors of a run, all of it or nothing.
#pragma once

#include <map>
#include <span>
#include <string>

#include "engine/ckpt/safetensors.h"

namespace spn::ckpt {

// Copies saved tensors into those of the same name. Data error listing every missing, unexpected or misshapen tensor
// and naming `source`; then nothing is changed. what: "the optimiser state".
void restore(const char* where, const char* what, std::span<const NamedTensor> into,
             const std::map<std::string, Tensor>& saved, const std::string& source);

}  // namespace spn::ckpt
