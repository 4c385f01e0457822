// The global norm of the gradients, and the factor that clips it.
#pragma once

#include <span>

#include "engine/core/view.h"

namespace spn::optim {

// sqrt(Σ g²) over all gradients, summed in double in a fixed order. Contiguous floating views on one device; empty: 0.
double global_norm(std::span<const View> grads);

// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 when max_norm is 0 (off).
double clip_scale(double norm, double max_norm);

}  // namespace spn::optim
