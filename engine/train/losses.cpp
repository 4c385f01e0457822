#include "engine/train/losses.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/norm.h"

namespace spn::train {

Losses contrastive_losses(const models::StAlign& model, const std::vector<Var>& embeddings, const ops::PairFacts& facts,
                          const LossOptions& options, dist::Comm& group, int groups) {
  check(embeddings.size() == models::kEmbeddings, "losses", "expected {} embeddings, got {}", +models::kEmbeddings,
        embeddings.size());
  std::vector<Var> unit;
  for (const Var& e : embeddings) unit.push_back(ops::l2_normalise(e));
  const double weight[3] = {options.alpha, options.beta, 1 - options.alpha - options.beta};
  Losses out;
  for (int t = 0; t < 3; ++t) {
    const auto& target = models::kTargets[t];
    const auto r =
        ops::contrastive(unit[target.x], unit[target.y], model.inverse_temperature(t), facts, group, options.products);
    const Var share = ops::affine(r.loss, weight[t] / groups);
    out.total = out.total ? ops::add(out.total, share) : share;
    out.value[static_cast<std::size_t>(t)] = r.total;
    out.accuracy[static_cast<std::size_t>(t)] = r.accuracy;
  }
  return out;
}

}  // namespace spn::train
