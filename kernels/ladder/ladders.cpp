// All ladders, in the order of the report.
#include "kernels/ladder/ladder.h"

namespace spn::kernels {

std::span<const Ladder> ladders() {
  static const Ladder all[] = {kLayerNormFwdLadder,   kLayerNormBwdLadder,   kAttentionFwdLadder,
                               kAttentionBwdLadder,   kAttentionLongLadder,  kImageEmbedLadder,
                               kAdamWLadder,          kAdamWCopyLadder,      kBatchNormStatsLadder,
                               kBatchNormApplyLadder, kContrastiveFwdLadder, kContrastiveBwdLadder};
  return all;
}

}  // namespace spn::kernels
