// A bf16 run that keeps its weights in bf16 beside fp32 is, bit for bit, the run that rounds them at every use: frozen
// parameters, micro-batches, weights loaded meanwhile.
#include <gtest/gtest.h>

#include "engine/eval/embed.h"
#include "engine/train/cost.h"
#include "engine/train/trainer.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn::train {
namespace {

constexpr std::int64_t kBatch = 6;

models::Config tiny() {
  models::Config c = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg");
  c.dropout = 0.1;
  c.vit_frozen = true;
  return c;
}

Batch make_batch(const models::Config& c, std::int64_t step) {
  const auto seed = static_cast<std::uint64_t>(100 * step);
  Batch b;
  b.step = step;
  b.first_sample = kBatch * step;
  const auto image = [&](std::int64_t px, std::uint64_t s) {
    return test::random({kBatch, px, px, 3}, s, DType::f32, 0, 255).to(DType::u8);
  };
  b.spot_image = image(c.spot_image_px, seed + 1);
  b.niche_image = image(c.niche_image_px, seed + 2);
  b.spot_gene = test::random({kBatch, c.spot_gene_width}, seed + 3, DType::f32, 0, 2);
  b.niche_gene = test::random({kBatch, c.genes}, seed + 4, DType::f32, 0, 2);
  b.slide = Tensor::zeros({kBatch}, DType::i32);
  b.cluster = Tensor::zeros({kBatch}, DType::i32);
  b.xy_um = Tensor::zeros({kBatch, 2});
  return b;
}

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
  for (std::int64_t s = 0; s < 3; ++s) ran.losses.push_back(trainer.step(make_batch(c, s), {1e-2, 0.1, 1.0}).loss);
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
  const Batch batch = make_batch(c, 0);
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
