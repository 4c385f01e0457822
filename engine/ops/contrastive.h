// Symmetric InfoNCE over the global batch (docs/model.md, Loss), streamed.
#pragma once

#include "engine/autograd/var.h"
#include "engine/dist/comm.h"
#include "kernels/args/contrastive.h"

namespace spn::ops {

// What the negative rules look at, for this rank's rows. Gathered over ranks once a step; empty tensors for `all`.
struct PairFacts {
  kernels::Negatives kind = kernels::Negatives::all;
  double radius_um = 0;
  Tensor slide;                           // i32 [n]
  Tensor xy;                              // f32 [n,2], µm
  Tensor cluster;                         // i32 [n]
  Tensor all_slide, all_xy, all_cluster;  // of all ranks of the group: gather_facts fills them
};
void gather_facts(PairFacts& facts, dist::Comm& comm);

struct ContrastiveResult {
  Var loss;         // scalar: THIS rank's share of the global mean loss; the shares of all ranks add up to ℓ
  Tensor total;     // scalar, no gradient: ℓ over the global batch, the same on all ranks
  Tensor accuracy;  // scalar, no gradient: top-1 over the global batch, mean of both directions
};

// x, y [n,d]: unit rows of this rank (every rank the same n); scale [1] = 1/τ, a var (learnable) or constant.
// ℓ = ½ (mean_i CE(S[i,:], i) + mean_j CE(S[:,j], j)), S = scale · X Yᵀ over all ranks' rows. fp32 (f64 in tests).
// Communication: all-gather of y, all-reduce of column statistics, reduce-scatter of dy. products: bf16 allows a device
// to round what it multiplies (kernels/args/contrastive.h).
ContrastiveResult contrastive(const Var& x, const Var& y, const Var& scale, const PairFacts& facts, dist::Comm& comm,
                              DType products = DType::f32);

// The same by dense composition (B × B logits): the reference of the tests.
ContrastiveResult contrastive_dense(const Var& x, const Var& y, const Var& scale, const PairFacts& facts,
                                    dist::Comm& comm);

}  // namespace spn::ops
