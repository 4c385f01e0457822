// The residual network's backward: no pass is spent on adding a shortcut's gradient, with and without checkpointing,
// which change no bit.
#include "engine/models/resnet.h"

#include <gtest/gtest.h>

#include "engine/ops/reduce.h"
#include "kernels/profile.h"
#include "tests/support/tensors.h"

namespace spn::models {
namespace {

struct Backward {
  std::vector<Tensor> grads;
  long additions = 0;
};

Backward backward_of(bool imagenet_stem, DType compute, bool checkpointed) {
  nn::Registry registry(7);
  const ResNet net(registry.root() / "net", {2, 1}, 8, imagenet_stem, 6);
  nn::Context c;
  c.training = true;
  c.compute = compute;
  c.checkpoint_blocks = checkpointed;
  const Var image(test::random({4, 3, 16, 16}, 1, compute).channels_last());
  const Var y = net(image, c);
  const Tensor dy = test::random(y.shape(), 2, compute);
  kernels::profile_start();
  backward({y}, {dy});
  Backward r;
  for (const auto& row : kernels::profile_stop())
    if (row.entry == "binary") r.additions += row.calls;
  for (const Var& v : registry.trainable()) r.grads.push_back(v.grad());
  return r;
}

TEST(ResNet, AShortcutsGradientIsAddedByAProduct) {
  for (const DType compute : {DType::f32, DType::bf16})
    for (const bool imagenet_stem : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, imagenet stem {}", name_of(compute), imagenet_stem));
      const Backward plain = backward_of(imagenet_stem, compute, false);
      const Backward checkpointed = backward_of(imagenet_stem, compute, true);
      EXPECT_EQ(plain.additions, 0);
      EXPECT_EQ(checkpointed.additions, 0);
      ASSERT_EQ(plain.grads.size(), checkpointed.grads.size());
      for (std::size_t i = 0; i < plain.grads.size(); ++i)
        EXPECT_EQ(plain.grads[i].to_vector<double>(), checkpointed.grads[i].to_vector<double>()) << i;
    }
}

}  // namespace
}  // namespace spn::models
