// All ladders, in the order of the report.
#include "kernels/ladder/ladder.h"

namespace spn::kernels {

std::span<const Ladder> ladders() {
  static const Ladder all[] = {kLayerNormFwdLadder,        kLayerNormBranchLadder, kLayerNormBwdLadder,
                               kAttentionFwdLadder,        kAttentionBwdLadder,    kAttentionDropoutFwdLadder,
                               kAttentionDropoutBwdLadder, kAttentionLongLadder,   kImageEmbedLadder,
                               kImageAugmentLadder,        kAdamWLadder,           kAdamWCopyLadder,
                               kBatchNormStatsLadder,      kBatchNormApplyLadder,  kContrastiveFwdLadder,
                               kContrastiveBwdLadder};
  return all;
}

}  // namespace spn::kernels
