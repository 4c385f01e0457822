// Gradients of a contrastive loss over a batch that is embedded in parts: all embeddings first (no tape), the loss and
// its gradient on them, then each part again with the tape. Exact, for one extra forward pass (GradCache,
// arXiv 2101.06983). One part: a single pass.
#pragma once

#include <functional>
#include <vector>

#include "engine/autograd/var.h"

namespace spn::train {

struct MicroBatchTimes {
  double forward_s = 0, backward_s = 0;
};

// embed(part, update_running): embeddings [rows of the part, ...] of one part; running statistics are to be updated
// only when asked (once a part). loss(joined): a scalar of the parts' embeddings joined along dim 0. Leaves the
// gradients in the parameters. last_backward is called before the backward pass that completes them (the place to
// switch gradient reduction on).
MicroBatchTimes accumulate_gradients(int parts,
                                     const std::function<std::vector<Var>(int part, bool update_running)>& embed,
                                     const std::function<Var(const std::vector<Var>& joined)>& loss,
                                     const std::function<void()>& last_backward);

}  // namespace spn::train
