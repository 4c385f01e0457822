// Layer scales of a size that counts: fresh ones are 1e-5, and what a block of a ViT adds is lost in rounding.
#pragma once

#include "engine/models/st_align.h"

namespace spn::test {

inline void raise_layer_scales(const models::StAlign& model) {
  int raised = 0;
  for (const auto& e : model.registry().entries())
    if (e.parameter && e.name.ends_with(".gamma")) {
      e.parameter.set_value(Tensor::full(e.parameter.shape(), 0.7));
      ++raised;
    }
  check(raised > 0, "test", "expected a model with layer scales");
}

}  // namespace spn::test
