#include "launch/cli/precision.h"

namespace spn::cli {

void Precision::add_to(Options& options) {
  options.add(
      "precision", &name,
      "what activations and products are computed in; weights, statistics, losses and sums stay fp32. tf32: fp32 with "
      "products on a GPU's tensor cores");
  options.choices("precision", {"fp32", "tf32", "bf16"});
}

DType Precision::dtype() const { return name == "bf16" ? DType::bf16 : DType::f32; }

}  // namespace spn::cli
