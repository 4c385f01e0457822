// max_negatives: ranks are split into equal groups that gather negatives among themselves, so that the loss costs the
// same on any number of ranks.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/dist/comm.h"

namespace spn::train {

struct NegativeGroup {
  std::shared_ptr<dist::Comm> comm;  // this rank's group: the world itself, not owned, where there is one
  int groups = 1;                    // how many there are
};

// The largest g that divides `ranks` and keeps g · rank_batch − 1 ≤ max_negatives (a row's own positive is no negative;
// 0: no limit). Usage error when one rank's own rows are already more.
int negative_group_size(int ranks, std::int64_t rank_batch, std::int64_t max_negatives);

// Ranks [k·g, (k+1)·g) form group k. With rows dealt to ranks in order, a group holds a contiguous block of the global
// batch: world sizes with equal g · rank_batch have the same negatives. A group's shares of the loss add up to the
// group's mean: divide by `groups` for the mean over all. Collective.
NegativeGroup make_negative_group(dist::Comm& world, std::int64_t rank_batch, std::int64_t max_negatives);

}  // namespace spn::train
