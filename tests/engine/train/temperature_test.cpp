// A learnable temperature at its limit: 1/τ never passes 100, and comes back from there when the loss wants it lower.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/train/trainer.h"
#include "tests/support/tiny_batch.h"

namespace spn::train {
namespace {

using test::kBatch, test::random_batch, test::tiny;

// As weights from elsewhere may have it.
void beyond_the_limit(const models::StAlign& model) {
  for (const auto& e : model.registry().entries())
    if (e.name.rfind("logit_scale.", 0) == 0) e.value().copy_from(Tensor::full({}, std::log(150.0)));
}

TEST(Temperature, StopsAtItsLimitAndComesBack) {
  models::Config c = tiny();
  c.learnable_temperature = true;
  models::StAlign model(c, 3);
  beyond_the_limit(model);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable()));
  const auto self = dist::make_self();
  Trainer trainer(model, *optimizer, *self, {}, kBatch);
  const auto scales = [&] {
    std::vector<double> out;
    for (const auto& e : model.registry().entries())
      if (e.name.rfind("logit_scale.", 0) == 0) out.push_back(std::exp(e.value().item()));
    return out;
  };
  trainer.step(random_batch(c, kBatch, 0), {1e-2, 0, 1.0});
  ASSERT_EQ(scales().size(), 3U);
  for (const double s : scales()) {
    EXPECT_LE(s, 100.0);
    EXPECT_GT(s, 95.0);
  }
  for (int t = 0; t < 3; ++t) EXPECT_NEAR(model.inverse_temperature(t).value().item(), scales()[t], 1e-4);
  // random pairs: every similarity weighs 100 times, so the loss falls fastest by a lower scale
  for (std::int64_t s = 1; s < 5; ++s) trainer.step(random_batch(c, kBatch, s), {1e-2, 0, 1.0});
  for (const double s : scales()) EXPECT_LT(s, 98.0);
}

TEST(Temperature, FrozenStaysWhatItIs) {
  models::Config c = tiny();
  c.learnable_temperature = true;
  models::StAlign model(c, 3);
  beyond_the_limit(model);
  ASSERT_EQ(model.registry().freeze("logit_scale.*"), 3);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable()));
  const auto self = dist::make_self();
  Trainer trainer(model, *optimizer, *self, {}, kBatch);
  trainer.step(random_batch(c, kBatch, 0), {1e-2, 0, 1.0});
  for (const auto& e : model.registry().entries())
    if (e.name.rfind("logit_scale.", 0) == 0) {
      EXPECT_NEAR(std::exp(e.value().item()), 150, 1e-3) << e.name;
    }
  for (int t = 0; t < 3; ++t) EXPECT_EQ(model.inverse_temperature(t).value().item(), 100.0);
}

}  // namespace
}  // namespace spn::train
