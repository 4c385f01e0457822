// The rungs of every ladder. A build without CUDA has kernels/no_cuda.cpp in its place.
#include "kernels/ladder/ladder.h"

namespace spn::kernels {

std::span<const Rung> rungs_of(std::string_view ladder) {
  if (ladder == kLayerNormFwdLadder.name) return layer_norm_fwd_rungs();
  if (ladder == kLayerNormBranchLadder.name) return layer_norm_branch_rungs();
  if (ladder == kLayerNormBwdLadder.name) return layer_norm_bwd_rungs();
  if (ladder == kAdamWLadder.name) return adamw_rungs();
  if (ladder == kAdamWCopyLadder.name) return adamw_copy_rungs();
  if (ladder == kAttentionFwdLadder.name) return attention_fwd_rungs();
  if (ladder == kAttentionBwdLadder.name) return attention_bwd_rungs();
  if (ladder == kAttentionDropoutFwdLadder.name) return attention_dropout_fwd_rungs();
  if (ladder == kAttentionDropoutBwdLadder.name) return attention_dropout_bwd_rungs();
  if (ladder == kAttentionLongLadder.name) return attention_long_rungs();
  if (ladder == kImageEmbedLadder.name) return image_embed_rungs();
  if (ladder == kImageAugmentLadder.name) return image_augment_rungs();
  if (ladder == kBatchNormStatsLadder.name) return batch_norm_stats_rungs();
  if (ladder == kBatchNormApplyLadder.name) return batch_norm_apply_rungs();
  if (ladder == kContrastiveFwdLadder.name) return contrastive_fwd_rungs();
  if (ladder == kContrastiveBwdLadder.name) return contrastive_bwd_rungs();
  return {};
}

}  // namespace spn::kernels
