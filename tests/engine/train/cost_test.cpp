// The counts of the meta device against arithmetic by hand and against a real step.
#include "engine/train/cost.h"

#include <gtest/gtest.h>

#include "engine/models/st_align.h"
#include "engine/train/trainer.h"
#include "kernels/table.h"
#include "tests/support/layer_scales.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn::train {
namespace {

models::Config config(const std::string& name) {
  return test::read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/" + name + ".cfg");
}

const PartCost& part(const StepCost& cost, const std::string& name) {
  for (const PartCost& p : cost.parts)
    if (p.name == name) return p;
  throw std::runtime_error("no part " + name);
}

// Counted by another author: GFLOP forward a pair.
TEST(Cost, FullModelAsPublished) {
  const StepCost c = step_cost(config("st_align"), {});
  EXPECT_EQ(c.total.parameters, 416267432);
  EXPECT_EQ(c.total.trained, 416267432 - 303350784);
  EXPECT_EQ(part(c, "niche_image").parameters, 303350808);
  EXPECT_NEAR(part(c, "spot_image").forward_flops / 1e9, 2.60, 0.01);
  // less what the last block need not do for the 196 tokens that nobody reads: attention rows, proj, MLP
  const double unread = 196 * (2 * (1024. * 1024 + 2 * 1024 * 4096) + 4 * 197. * 1024);
  EXPECT_NEAR(part(c, "niche_image").forward_flops / 1e9, 123.1 - unread / 1e9, 0.05);
  EXPECT_NEAR(part(c, "niche_gene").forward_flops / 1e9, 0.0145 + 0.216 + 0.0043, 0.001);
  EXPECT_NEAR((part(c, "spot_fusion").forward_flops + part(c, "niche_fusion").forward_flops) / 1e9, 0.071, 0.001);
  EXPECT_NEAR(part(c, "heads").forward_flops / 1e9, 0.084 * 6 / 4, 0.0005);
  // gradients of inputs and of weights: twice the forward, but for the first layer's input; none in a frozen ViT
  EXPECT_NEAR(part(c, "spot_image").backward_flops / part(c, "spot_image").forward_flops, 2, 0.01);
  EXPECT_LT(part(c, "niche_image").backward_flops / 1e9, 0.001);
  EXPECT_LT(part(c, "niche_image").activation_bytes, 64e3);
}

TEST(Cost, SpotImagesOf224) {
  EXPECT_NEAR(part(step_cost(config("st_align_224"), {.batch = 2}), "spot_image").forward_flops / 1e9, 8.18, 0.02);
}

TEST(Cost, CheckpointingHalvesTheActivations) {
  for (const char* name : {"st_align", "small"}) {
    const StepCost plain = step_cost(config(name), {.batch = 8});
    const StepCost less = step_cost(config(name), {.batch = 8, .activation_checkpointing = true});
    EXPECT_LT(less.activation_bytes, 0.5 * plain.activation_bytes) << name;
    EXPECT_LT(less.peak_bytes, plain.peak_bytes) << name;
    EXPECT_GT(less.total.backward_flops, 1.2 * plain.total.backward_flops) << name;
    EXPECT_DOUBLE_EQ(less.total.forward_flops, plain.total.forward_flops) << name;
  }
}

TEST(Cost, OfSeveralRanksAndOfAverages) {
  const StepCost one = step_cost(config("small"), {.batch = 8});
  const StepCost many = step_cost(config("small"), {.batch = 8, .ranks = 2, .ema = true});
  EXPECT_DOUBLE_EQ(many.activation_bytes, one.activation_bytes);
  EXPECT_GT(many.ema_bytes, one.gradient_bytes);  // what is trained, and running statistics
  EXPECT_LT(many.ema_bytes, 1.1 * one.gradient_bytes);
  EXPECT_DOUBLE_EQ(many.floor_bytes, one.floor_bytes + many.ema_bytes);
  // buckets are there while all activations are; gradients of one rank come as activations go
  EXPECT_GT(many.peak_bytes, one.peak_bytes + many.ema_bytes);
  EXPECT_LT(many.peak_bytes, 1.15 * many.floor_bytes);
}

class CostOfTiny : public testing::TestWithParam<bool> {};

// What tensors really held in a step: the counted peak (allocation classes round up by at most an eighth), and so not
// far from the floor.
TEST_P(CostOfTiny, IsWhatAStepHolds) {
  const bool checkpointing = GetParam();
  constexpr std::int64_t kBatch = 32;
  const models::Config c = config("tiny");
  const StepCost cost = step_cost(c, {.batch = kBatch, .activation_checkpointing = checkpointing});
  const auto self = dist::make_self();
  const auto& cpu = kernels::cpu_table();
  const auto before = static_cast<double>(cpu.memory().in_use);
  models::StAlign model(c, 1);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable(), {}));
  TrainerOptions options;
  options.activation_checkpointing = checkpointing;
  Trainer trainer(model, *optimizer, *self, options, kBatch);
  Batch b;
  b.spot_image = Tensor::full({kBatch, 32, 32, 3}, 7, DType::u8);
  b.niche_image = Tensor::full({kBatch, 64, 64, 3}, 9, DType::u8);
  b.spot_gene = test::random({kBatch, 512}, 1, DType::f32);
  b.niche_gene = test::random({kBatch, 512}, 2, DType::f32);
  b.slide = Tensor::zeros({kBatch}, DType::i32);
  b.cluster = Tensor::zeros({kBatch}, DType::i32);
  b.xy_um = Tensor::zeros({kBatch, 2});
  trainer.step(b, {1e-4, 0.04, 0});
  cpu.reset_peak();
  b.step = 1;
  trainer.step(b, {1e-4, 0.04, 0});
  const double peak = static_cast<double>(cpu.memory().peak) - before;
  // checkpointed, one block of tiny holds more than the rest keeps
  if (!checkpointing) {
    EXPECT_LT(peak, 1.15 * cost.floor_bytes);
  }
  EXPECT_LT(peak, 1.15 * cost.peak_bytes);
  EXPECT_GT(peak, 0.98 * cost.peak_bytes);
}

INSTANTIATE_TEST_SUITE_P(Checkpointing, CostOfTiny, testing::Bool());

// Values and gradients of the whole model, bit for bit, dropout and batch statistics on.
class ActivationCheckpointing : public testing::TestWithParam<DType> {};
TEST_P(ActivationCheckpointing, ChangesNothingButMemory) {
  const models::Config c = config("tiny");
  const auto run = [&](bool checkpointing) {
    models::StAlign model(c, 1);
    test::raise_layer_scales(model);
    models::Inputs in;
    in.spot_image = test::random({6, 3, 32, 32}, 1, DType::f32);
    in.niche_image = test::random({6, 3, 64, 64}, 2, DType::f32);
    in.spot_gene = test::random({6, 512}, 3, DType::f32);
    in.niche_gene = test::random({6, 512}, 4, DType::f32);
    nn::Context context;
    context.training = true;
    context.seed = 5;
    context.checkpoint_blocks = checkpointing;
    context.compute = GetParam();
    const auto z = model.embed(in, context);
    const auto self = dist::make_self();
    const auto losses = contrastive_losses(model, {z.begin(), z.end()}, {}, {}, *self, 1);
    backward(losses.total);
    std::map<std::string, std::vector<float>> out{{"loss", losses.total.value().to_vector<float>()}};
    for (const auto& e : model.registry().entries()) {
      if (e.parameter) out[e.name] = e.parameter.grad().to_vector<float>();
      if (!e.parameter) out[e.name] = e.buffer.to_vector<float>();  // running statistics moved once
    }
    return out;
  };
  const auto plain = run(false), checkpointed = run(true);
  ASSERT_EQ(plain.size(), checkpointed.size());
  for (const auto& [name, values] : plain) EXPECT_EQ(values, checkpointed.at(name)) << name;
}
INSTANTIATE_TEST_SUITE_P(Precisions, ActivationCheckpointing, testing::Values(DType::f32, DType::bf16),
                         [](const auto& row) { return std::string(name_of(row.param)); });

}  // namespace
}  // namespace spn::train
