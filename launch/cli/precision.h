// --precision: what activations are computed in.
#pragma once

#include "engine/core/dtype.h"
#include "launch/cli/options.h"

namespace spn::cli {

// fp32, fp32 with TF32 products (GPUs), or bf16 with fp32 weights, statistics, losses and reductions
// (docs/numerics.md).
struct Precision {
  std::string name = "fp32";
  void add_to(Options& options);
  DType dtype() const;
};

}  // namespace spn::cli
