// Activation checkpointing over ranks: batch statistics of the first pass are kept for the second, gradients go out in
// buckets while blocks are walked, and everything is the same to the bit.
#include <gtest/gtest.h>

#include <map>

#include "engine/models/st_align.h"
#include "engine/train/grad_sync.h"
#include "engine/train/losses.h"
#include "tests/support/counting_comm.h"
#include "tests/support/layer_scales.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

// statistics: counts the collectives of batch norm.
std::map<std::string, std::vector<float>> gradients(bool checkpointing, test::CountingComm& statistics) {
  dist::Comm& world = test::world();
  const models::Config c = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/tests/golden/st_align_small.cfg");
  models::StAlign model(c, 1);
  test::raise_layer_scales(model);
  GradSync sync(model.registry().trainable(), world, 1 << 14);
  constexpr std::int64_t kGlobal = 8;
  const std::int64_t rows = kGlobal / world.size(), first = rows * world.rank();
  const auto mine = [&](const Shape& shape, std::uint64_t stream) {
    return test::random(shape, stream, DType::f32).narrow(0, first, rows);
  };
  models::Inputs in;
  in.spot_image = mine({kGlobal, 3, c.spot_image_px, c.spot_image_px}, 1);
  in.niche_image = mine({kGlobal, 3, c.niche_image_px, c.niche_image_px}, 2);
  in.spot_gene = mine({kGlobal, c.spot_gene_width}, 3);
  in.niche_gene = mine({kGlobal, c.genes}, 4);
  nn::Context context;
  context.training = true;
  context.first_sample = first;
  context.comm = &statistics;
  context.checkpoint_blocks = checkpointing;
  const auto z = model.embed(in, context);
  const auto losses = contrastive_losses(model, {z.begin(), z.end()}, {}, {}, world, 1);
  sync.enable(true);
  backward(losses.total);
  sync.finish();
  std::map<std::string, std::vector<float>> out{{"loss", losses.total.value().to_vector<float>()}};
  for (const auto& e : model.registry().entries())
    if (!e.parameter || e.parameter.grad())
      out[e.name] = e.parameter ? e.parameter.grad().to_vector<float>() : e.buffer.to_vector<float>();
  return out;
}

TEST(ActivationCheckpointingOverRanks, SameBits) {
  test::CountingComm once(test::world()), twice(test::world());
  const auto plain = gradients(false, once), checkpointed = gradients(true, twice);
  EXPECT_EQ(twice.collectives, once.collectives);  // at most two a layer and step
  ASSERT_EQ(plain.size(), checkpointed.size());
  EXPECT_GT(plain.size(), 100U);
  for (const auto& [name, values] : plain) EXPECT_EQ(values, checkpointed.at(name)) << name;
}

}  // namespace
}  // namespace spn::train
