// The three contrastive targets of a batch (docs/model.md, Loss) over the ranks that share negatives.
#pragma once

#include <array>

#include "engine/models/st_align.h"
#include "engine/ops/contrastive.h"

namespace spn::train {

struct LossOptions {
  double alpha = 0.3, beta = 0.3;  // weights of spot and niche; cross has the rest
  kernels::Negatives negatives = kernels::Negatives::all;
  double exclude_radius_um = 0;
  DType products = DType::f32;  // bf16: a device may round what the logits are multiplied from
};

struct Losses {
  Var total;                       // this rank's share of L, to be differentiated
  std::array<Tensor, 3> value;     // ℓ of spot, niche, cross over the group, no gradient
  std::array<Tensor, 3> accuracy;  // top-1, mean of both directions
};

// embeddings: six [b,E] of this rank, raw (rows are normalised here). groups: how many groups of ranks gather among
// themselves; `group` is this rank's. Shares of all ranks add up to the mean over groups.
Losses contrastive_losses(const models::StAlign& model, const std::vector<Var>& embeddings, const ops::PairFacts& facts,
                          const LossOptions& options, dist::Comm& group, int groups);

}  // namespace spn::train
