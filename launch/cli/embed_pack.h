// Embeddings of all rows of packs, computed by all ranks, joined on rank 0: shared by embed and evaluate.
#pragma once

#include "data/pipe/loader.h"
#include "engine/dist/comm.h"
#include "engine/eval/embed.h"

namespace spn::cli {

// Rows in pack order. Only rank 0 gets values; the others empty vectors. Collective.
eval::Embeddings embed_packs(dist::Comm& world, const models::StAlign& model, const data::PackSet& packs,
                             std::int64_t batch, DType compute = DType::f32, Device device = {});

}  // namespace spn::cli
