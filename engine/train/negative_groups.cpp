// Group size and the split.
#include "engine/train/negative_groups.h"

namespace spn::train {

int negative_group_size(int ranks, std::int64_t rank_batch, std::int64_t max_negatives) {
  check(ranks > 0 && rank_batch > 0, "negative_groups", "expected ranks and rows above 0, got {} and {}", ranks,
        rank_batch);
  if (max_negatives < 0) fail_usage("max-negatives", "expected 0 (no cap) or more, got {}", max_negatives);
  if (max_negatives == 0) return ranks;
  if (rank_batch - 1 > max_negatives)
    fail_usage(
        "max-negatives",
        "expected at least {} (each of {} ranks holds {} rows), got {}; use more ranks, a smaller --global-batch "
        "or a larger --max-negatives",
        rank_batch - 1, ranks, rank_batch, max_negatives);
  int g = ranks;
  while (ranks % g != 0 || g * rank_batch - 1 > max_negatives) --g;
  return g;
}

NegativeGroup make_negative_group(dist::Comm& world, std::int64_t rank_batch, std::int64_t max_negatives) {
  const int g = negative_group_size(world.size(), rank_batch, max_negatives);
  if (g == world.size()) return {std::shared_ptr<dist::Comm>(std::shared_ptr<void>(), &world), 1};
  return {world.split(world.rank() / g), world.size() / g};
}

}  // namespace spn::train
