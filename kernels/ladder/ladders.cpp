// All ladders, in the order of the report: a run that is cut off has timed first what has targets.
#include "kernels/ladder/ladder.h"

namespace spn::kernels {

std::span<const Ladder> ladders() {
  static const Ladder all[] = {
      kLayerNormFwdLadder,        kLayerNormBwdLadder,    kAttentionFwdLadder,   kAttentionBwdLadder,
      kImageEmbedLadder,          kBatchNormStatsLadder,  kBatchNormApplyLadder, kAdamWLadder,
      kAdamWCopyLadder,           kLayerNormBranchLadder, kImageAugmentLadder,   kAttentionDropoutFwdLadder,
      kAttentionDropoutBwdLadder, kAttentionLongLadder,   kContrastiveFwdLadder, kContrastiveBwdLadder};
  return all;
}

}  // namespace spn::kernels
