// Position embeddings for another grid, as timm's resample_abs_pos_embed makes them.
#pragma once

#include "engine/tensor/tensor.h"

namespace spn::models {

// f32 [1, 1 + from², width] -> [1, 1 + to², width]: the class token's row is kept, the grid's rows are resampled by
// PyTorch's bicubic filter (a = -0.5) with antialias, edges renormalised. Equal grids: the tensor itself.
Tensor resample_position(const Tensor& position, std::int64_t from, std::int64_t to);

}  // namespace spn::models
