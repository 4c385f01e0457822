// Scalars of an optimiser's update, for host and device.
#pragma once

#include "engine/core/philox.h"  // SPN_HD

namespace spn::kernels {

// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 when max_norm is 0 (off).
SPN_HD inline double clip_scale(double norm, double max_norm) {
  const double scale = max_norm / (norm + 1e-6);
  return max_norm > 0 && scale < 1 ? scale : 1.0;
}

}  // namespace spn::kernels
