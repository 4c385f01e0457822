// Activation checkpointing: a part of the forward whose activations are computed again in the backward instead of
// being kept; only what enters it stays (Chen et al. 2016, arXiv 1604.06174).
#pragma once

#include <functional>
#include <vector>

#include "engine/autograd/var.h"

namespace spn {

// A part: its result from its inputs. again: the second call, which must compute the same values and have no side
// effects (running statistics). It is kept until the backward; what it refers to must live as long.
using Segment = std::function<Var(const std::vector<Var>& inputs, bool again)>;

// Same result and gradients as fn(inputs, false). Parameters that fn uses get their gradients, and call their hooks,
// while the part is walked: use a parameter in one part only.
Var checkpoint(const Segment& fn, const std::vector<Var>& inputs);

}  // namespace spn
