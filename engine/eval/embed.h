// Embeddings of a batch in evaluation mode.
#pragma once

#include <array>
#include <vector>

#include "engine/models/batch.h"
#include "engine/models/st_align.h"

namespace spn::eval {

// Unit rows [b,E], row-major, by models::Embedding.
using Embeddings = std::array<std::vector<float>, models::kEmbeddings>;

// No dropout, no augmentation, running batch statistics.
Embeddings embed_batch(const models::StAlign& model, const models::Batch& batch, DType compute = DType::f32,
                       Device device = {});

}  // namespace spn::eval
