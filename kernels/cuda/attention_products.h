// Attention over long sequences by matrix products.
#pragma once

#include "kernels/args/attention.h"

namespace spn::kernels::cuda {

// Computes it and says true where that is the better way: 64 or more queries and keys, f32 or bf16, no dropout.
// Arguments are checked by the caller.
bool attention_by_products(const AttentionFwd& a);
bool attention_by_products(const AttentionBwd& a);

}  // namespace spn::kernels::cuda
