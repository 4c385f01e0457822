// A whole step of the tiny model in bf16 beside the same in fp32: losses within bf16's row of the table, gradients of
// every part close, and all of them, like weights and statistics, in fp32.
#include <gtest/gtest.h>

#include "engine/train/losses.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn::models {
namespace {

struct Step {
  double loss = 0;
  std::vector<Tensor> embeddings;
  std::map<std::string, Tensor> grads;
};

Step step(const StAlign& model, const Inputs& in, DType compute) {
  nn::Context c;
  c.training = true;
  c.step = 3;
  c.compute = compute;
  c.update_running = false;
  const auto z = model.embed(in, c);
  const auto self = dist::make_self();
  const auto losses = train::contrastive_losses(model, {z.begin(), z.end()}, {}, {}, *self, 1);
  backward(losses.total);
  Step s;
  s.loss = losses.total.value().item();
  for (const Var& e : z) s.embeddings.push_back(e.value());
  for (const auto& e : model.registry().entries())
    if (e.parameter && e.parameter.grad()) {
      s.grads.emplace(e.name, e.parameter.grad());
      e.parameter.clear_grad();
    }
  return s;
}

// ‖a − b‖ / ‖b‖ over all gradients whose name begins with the part's.
double distance(const Step& a, const Step& b, const std::string& part) {
  double difference = 0, size = 0;
  for (const auto& [name, t] : b.grads) {
    if (name.rfind(part + ".", 0) != 0) continue;
    const auto x = a.grads.at(name).to_vector<double>(), y = t.to_vector<double>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      difference += (x[i] - y[i]) * (x[i] - y[i]);
      size += y[i] * y[i];
    }
  }
  return std::sqrt(difference / size);
}

TEST(Bf16, AStepOfTheTinyModelBesideFp32) {
  const Config config = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg");
  const StAlign model(config, 5);
  const std::int64_t batch = 8;
  Inputs in;
  in.spot_image = test::random({batch, 3, 32, 32}, 1, DType::f32, -2, 2);
  in.niche_image = test::random({batch, 3, 64, 64}, 2, DType::f32, -2, 2);
  in.spot_gene = test::random({batch, 512}, 3, DType::f32, 0, 2);
  in.niche_gene = test::random({batch, 512}, 4, DType::f32, 0, 2);
  const Step wide = step(model, in, DType::f32), half = step(model, in, DType::bf16);
  EXPECT_TRUE(test::near(half.loss, wide.loss, test::tolerance(DType::bf16))) << half.loss << " for " << wide.loss;
  EXPECT_NE(half.loss, wide.loss) << "bf16 was not used";
  ASSERT_EQ(half.grads.size(), wide.grads.size());
  for (const auto& [name, g] : half.grads) EXPECT_EQ(g.dtype(), DType::f32) << name;
  for (const Tensor& e : half.embeddings) EXPECT_EQ(e.dtype(), DType::f32);
  for (const char* part :
       {"spot_image", "spot_gene", "niche_image", "niche_gene", "spot_fusion", "niche_fusion", "heads"}) {
    const double d = distance(half, wide, part);
    // a fresh model tells pairs apart by small differences: PyTorch's bf16 is 0.06-0.30 away from its fp32 here
    EXPECT_TRUE(d <= 0.3) << part << ": gradients differ by " << d;
  }
}

TEST(Bf16, EvaluationEmbeddingsStayClose) {
  const Config config = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg");
  const StAlign model(config, 6);
  Inputs in;
  in.spot_image = test::random({4, 3, 32, 32}, 1, DType::f32, -2, 2);
  in.niche_image = test::random({4, 3, 64, 64}, 2, DType::f32, -2, 2);
  in.spot_gene = test::random({4, 512}, 3, DType::f32, 0, 2);
  in.niche_gene = test::random({4, 512}, 4, DType::f32, 0, 2);
  const NoGrad no_grad;
  nn::Context wide, half;
  half.compute = DType::bf16;
  const auto a = model.embed(in, wide), b = model.embed(in, half);
  for (std::size_t e = 0; e < a.size(); ++e)
    EXPECT_TRUE(test::close(b[e].value(), a[e].value(), test::tolerance(DType::bf16, 16))) << kEmbeddingNames[e];
}

}  // namespace
}  // namespace spn::models
