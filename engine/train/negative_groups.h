// max_negatives: ranks are split into equal groups that gather negatives among themselves.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/dist/comm.h"

namespace spn::train {

struct NegativeGroup {
  std::unique_ptr<dist::Comm> comm;  // this rank's group
  int groups = 1;                    // how many there are
};

// The largest group size g that divides the world and keeps g · rank_batch − 1 ≤ max_negatives (0: no limit). Usage
// error when one rank's own rows are already more.
NegativeGroup make_negative_group(dist::Comm& world, std::int64_t rank_batch, std::int64_t max_negatives);

}  // namespace spn::train
