// The rungs of every ladder. A build without CUDA has kernels/no_cuda.cpp in its place.
#include "kernels/ladder/ladder.h"

namespace spn::kernels {

std::span<const Rung> rungs_of(std::string_view ladder) {
  if (ladder == kLayerNormFwdLadder.name) return layer_norm_fwd_rungs();
  if (ladder == kLayerNormBwdLadder.name) return layer_norm_bwd_rungs();
  if (ladder == kAdamWLadder.name) return adamw_rungs();
  return {};
}

}  // namespace spn::kernels
