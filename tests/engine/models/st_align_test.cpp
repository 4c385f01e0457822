// The whole model against PyTorch (goldens st_align), its sizes, and what its numbers must not depend on.
#include "engine/models/st_align.h"

#include <gtest/gtest.h>

#include "engine/ops/image.h"
#include "engine/train/losses.h"
#include "tests/support/golden.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn::models {
namespace {

std::string source(const std::string& path) { return std::string(SPN_SOURCE_DIR) + "/" + path; }

TEST(StAlign, TinyHasTheContractsParameters) {
  const Config c = test::read_model_config(source("configs/model/tiny.cfg"));
  const StAlign model(c, 1);
  EXPECT_EQ(model.registry().count(), 4062720);
  EXPECT_EQ(model.registry().count("niche_image.backbone."), 366464);
}

TEST(StAlign, ConfigRoundTripsThroughJson) {
  Config c = test::read_model_config(source("configs/model/st_align.cfg"));
  const std::string text = to_json(c);
  EXPECT_EQ(to_json(from_json(text, "test")), text);
  EXPECT_THROW(from_json("{\"tokens\": 8}", "x.json"), Error);
  c.genes = 511;
  EXPECT_THROW(c.validate(), Error);
}

TEST(StAlign, InitialWeightsDependOnNameAndSeedAlone) {
  Config c = test::read_model_config(source("configs/model/tiny.cfg"));
  const StAlign a(c, 7);
  c.fusion_ffn_hidden = 32;  // another part changes
  const StAlign b(c, 7);
  c.fusion_ffn_hidden = 16;
  const StAlign other(c, 8);
  const auto find = [](const StAlign& m, const std::string& name) {
    for (const auto& e : m.registry().entries())
      if (e.name == name) return e.value().to_vector<float>();
    return std::vector<float>();
  };
  const std::string name = "heads.niche.0.weight";
  EXPECT_EQ(find(a, name), find(b, name));
  EXPECT_NE(find(a, name), find(other, name));
}

TEST(StAlign, FeaturesInPlaceOfTheNicheImage) {
  Config c = test::read_model_config(source("configs/model/tiny.cfg"));
  c.vit_frozen = true;
  const StAlign model(c, 5);
  const NoGrad no_grad;
  Inputs in;
  in.spot_image = test::random({3, 3, 32, 32}, 1, DType::f32);
  in.niche_image = test::random({3, 3, 64, 64}, 2, DType::f32);
  in.spot_gene = test::random({3, 512}, 3, DType::f32);
  in.niche_gene = test::random({3, 512}, 4, DType::f32);
  const auto want = model.embed(in, nn::Context{});
  // a ViT alone, made from the same seed under the same names
  nn::Registry registry(5);
  const ViT vit(registry.root() / "niche_image" / "backbone", {64, 16, 128, 2, 4, 256});
  in.niche_feature = vit(Var(in.niche_image), nn::Context{}).value();
  in.niche_image = Tensor();
  const auto got = model.embed(in, nn::Context{});
  for (std::size_t e = 0; e < kEmbeddings; ++e)
    EXPECT_EQ(got[e].value().to_vector<float>(), want[e].value().to_vector<float>()) << kEmbeddingNames[e];
  in.niche_feature = test::random({3, 127}, 5, DType::f32);
  EXPECT_THROW(model.embed(in, nn::Context{}), Error);
  c.niche_adapter = true;
  c.vit_patch = 16;
  in.niche_feature = test::random({3, 128}, 5, DType::f32);
  EXPECT_THROW(StAlign(c, 5).embed(in, nn::Context{}), Error);
}

class StAlignGolden : public testing::TestWithParam<const char*> {
 protected:
  StAlignGolden() : golden("st_align"), name(GetParam()) {
    config = test::read_model_config(source("tests/golden/st_align_" + name + ".cfg"));
    model = std::make_unique<StAlign>(config, 3);
    std::map<std::string, Tensor> tensors;
    for (const auto& e : model->registry().entries()) {
      const std::string key = name + ".param." + e.name;
      // PyTorch's batch counter is not part of the goldens' mathematics
      tensors[e.name] = golden.has(key) ? golden.tensor(key) : e.value().clone();
      if (!golden.has(key)) {
        EXPECT_NE(e.name.find("num_batches_tracked"), std::string::npos) << "no golden " << key;
      }
    }
    model->registry().load(tensors, "golden");
    in.spot_image = ops::image_embed(golden.tensor(name + ".spot_image"), {});
    in.niche_image = ops::image_embed(golden.tensor(name + ".niche_image"), {});
    in.spot_gene = golden.tensor(name + ".spot_gene");
    in.niche_gene = golden.tensor(name + ".niche_gene");
  }
  void expect_embeddings(const std::array<Var, kEmbeddings>& z, const std::string& mode) {
    for (std::size_t e = 0; e < z.size(); ++e)
      EXPECT_TRUE(test::close(z[e].value(), golden.tensor(name + "." + mode + "." + kEmbeddingNames[e]), {2e-4, 2e-5}))
          << mode << " " << kEmbeddingNames[e];
  }
  test::Golden golden;
  std::string name;
  Config config;
  std::unique_ptr<StAlign> model;
  Inputs in;
};

TEST_P(StAlignGolden, EvaluationEmbeddings) {
  const NoGrad no_grad;
  expect_embeddings(model->embed(in, nn::Context{}), "eval");
}

TEST_P(StAlignGolden, TrainingLossGradientsAndRunningStatistics) {
  nn::Context c;
  c.training = true;
  const auto z = model->embed(in, c);
  expect_embeddings(z, "train");
  const auto self = dist::make_self();
  const auto losses = train::contrastive_losses(*model, {z.begin(), z.end()}, {}, {}, *self, 1);
  EXPECT_TRUE(
      test::close(losses.total.value().reshape({}), golden.tensor(name + ".loss.total").reshape({}), {1e-5, 1e-6}));
  for (std::size_t t = 0; t < 3; ++t)
    EXPECT_TRUE(test::close(losses.value[t].reshape({}), golden.tensor(name + ".loss." + kTargets[t].name).reshape({}),
                            {1e-5, 1e-6}));
  backward(losses.total);
  int compared = 0;
  for (const auto& e : model->registry().entries()) {
    if (e.parameter && golden.has(name + ".grad." + e.name)) {
      ASSERT_TRUE(e.parameter.grad()) << e.name;
      // small gradients are differences of large terms: absolute tolerance from the largest element
      const Tensor want = golden.tensor(name + ".grad." + e.name);
      double largest = 0;
      for (const double v : want.to_vector<double>()) largest = std::max(largest, std::abs(v));
      EXPECT_TRUE(test::close(e.parameter.grad().reshape(want.shape()), want, {1e-3, 2e-4 * largest + 1e-7})) << e.name;
      ++compared;
    } else if (e.parameter && golden.has(name + ".grad_norm." + e.name)) {
      double squares = 0;
      for (const double v : e.parameter.grad().to_vector<double>()) squares += v * v;
      const double want = golden.tensor(name + ".grad_norm." + e.name).item();
      EXPECT_NEAR(std::sqrt(squares), want, 1e-3 * want + 1e-7) << e.name;
      ++compared;
    } else if (e.parameter && !e.parameter.requires_grad()) {
      EXPECT_FALSE(e.parameter.grad()) << e.name << " is frozen";
    } else if (!e.parameter && golden.has(name + ".after." + e.name)) {
      EXPECT_TRUE(
          test::close(e.buffer.to(DType::f32), golden.tensor(name + ".after." + e.name).to(DType::f32), {1e-4, 1e-6}))
          << e.name;
    }
  }
  EXPECT_GT(compared, 60);
}

INSTANTIATE_TEST_SUITE_P(Models, StAlignGolden, testing::Values("small", "adapter"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(StAlign, DropoutFollowsTheGlobalSampleNotTheRank) {
  Config c = test::read_model_config(source("configs/model/tiny.cfg"));
  c.dropout = 0.3;
  const StAlign model(c, 5);
  Inputs whole;
  whole.spot_image = test::random({4, 3, 32, 32}, 1, DType::f32);
  whole.niche_image = test::random({4, 3, 64, 64}, 2, DType::f32);
  whole.spot_gene = test::random({4, 512}, 3, DType::f32);
  whole.niche_gene = test::random({4, 512}, 4, DType::f32);
  const NoGrad no_grad;
  nn::Context ctx;
  ctx.training = true;
  ctx.batch_statistics = false;
  ctx.step = 9;
  const auto all = model.embed(whole, ctx);
  Inputs half;
  half.spot_image = whole.spot_image.narrow(0, 2, 2);
  half.niche_image = whole.niche_image.narrow(0, 2, 2);
  half.spot_gene = whole.spot_gene.narrow(0, 2, 2);
  half.niche_gene = whole.niche_gene.narrow(0, 2, 2);
  ctx.first_sample = 2;
  const auto part = model.embed(half, ctx);
  for (std::size_t e = 0; e < all.size(); ++e)
    EXPECT_TRUE(test::close(part[e].value(), all[e].value().narrow(0, 2, 2), {1e-5, 1e-5})) << kEmbeddingNames[e];
  ctx.first_sample = 0;
  EXPECT_FALSE(test::close(model.embed(half, ctx)[niche_gene].value(), part[niche_gene].value(), {1e-5, 1e-5}).ok);
}

}  // namespace
}  // namespace spn::models
