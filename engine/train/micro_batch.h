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

// embed(part, update_running): embeddings [rows of the part, ...] of one part, one var a head; running statistics are
// to be updated only when asked (once a part). It is called twice for all parts but the last, whose tape is kept, and
// must give the same values both times (dropout keyed by global sample). loss(joined): a scalar of the parts'
// embeddings joined along dim 0; it may use parameters of its own (a learnable temperature). Adds to the parameters'
// gradients. last_backward (may be absent) is called before the backward pass that completes them (the place to switch
// gradient reduction on).
MicroBatchTimes accumulate_gradients(int parts,
                                     const std::function<std::vector<Var>(int part, bool update_running)>& embed,
                                     const std::function<Var(const std::vector<Var>& joined)>& loss,
                                     const std::function<void()>& last_backward);

}  // namespace spn::train
