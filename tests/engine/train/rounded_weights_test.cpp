// A bf16 run that keeps its weights in bf16 beside fp32 is, bit for bit, the run that rounds them at every use: frozen
// parameters, micro-batches, weights loaded meanwhile.
#include <gtest/gtest.h>

#include "engine/eval/embed.h"
#include "engine/train/cost.h"
#include "engine/train/trainer.h"
#include "tests/support/tiny_batch.h"

namespace spn::train {
namespace {

using test::kBatch, test::random_batch, test::tiny;

struct Ran {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> weights;
  std::size_t rounded_bytes = 0;
};

Ran train(bool keep, std::int64_t micro_batch) {
  const models::Config c = tiny();
  models::StAlign model(c, 3);
  model.registry().keep_rounded(keep);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable()));
  const auto self = dist::make_self();
  TrainerOptions o;
  o.compute = DType::bf16;
  o.micro_batch = micro_batch;
  Trainer trainer(model, *optimizer, *self, o, kBatch);
  Ran ran;
  for (std::int64_t s = 0; s < 3; ++s)
    ran.losses.push_back(trainer.step(random_batch(c, kBatch, s), {1e-2, 0.1, 1.0}).loss);
  for (const auto& e : model.registry().entries()) {
    ran.weights[e.name] = e.value().to_vector<float>();
    if (const Tensor& r = e.parameter.rounded()) {
      EXPECT_EQ(r.to_vector<float>(), e.value().to(DType::bf16).to_vector<float>()) << e.name;
    }
  }
  ran.rounded_bytes = model.registry().rounded_bytes();
  return ran;
}

TEST(RoundedWeights, AreThoseRoundedAtUse) {
  for (const std::int64_t micro : {std::int64_t{0}, kBatch / 2}) {
    const Ran at_use = train(false, micro), kept = train(true, micro);
    EXPECT_EQ(at_use.rounded_bytes, 0U);
    EXPECT_EQ(kept.losses, at_use.losses);
    for (const auto& [name, values] : at_use.weights) EXPECT_EQ(kept.weights.at(name), values) << name;
    const StepCost wide = step_cost(tiny(), {.batch = kBatch}),
                   half = step_cost(tiny(), {.batch = kBatch, .compute = DType::bf16});
    EXPECT_DOUBLE_EQ(half.weight_bytes - wide.weight_bytes, static_cast<double>(kept.rounded_bytes));
    EXPECT_GT(static_cast<double>(kept.rounded_bytes), 0.45 * wide.weight_bytes);
  }
}

TEST(RoundedWeights, FollowWeightsThatAreLoaded) {
  const models::Config c = tiny();
  const Batch batch = random_batch(c, kBatch, 0);
  models::StAlign model(c, 3);
  const models::StAlign other(c, 4);
  const auto before = eval::embed_batch(model, batch, DType::bf16);  // rounds what it reads
  std::map<std::string, Tensor> weights;
  for (const auto& e : other.registry().entries()) weights[e.name] = e.value();
  model.registry().load(weights, "other");
  const auto after = eval::embed_batch(model, batch, DType::bf16);
  EXPECT_NE(after, before);
  EXPECT_EQ(after, eval::embed_batch(other, batch, DType::bf16));
}

}  // namespace
}  // namespace spn::train
