// The whole model on the CUDA device: training steps beside the CPU's, plain and as a captured graph.
#include <cmath>

#include "engine/core/philox.h"
#include "engine/eval/embed.h"
#include "engine/train/trainer.h"
#include "tests/cuda/twin.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"

namespace spn::train {
namespace {

using test::kGpu;

models::Config small_config() {
  models::Config c = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/tests/golden/st_align_small.cfg");
  c.dropout = 0.1;
  c.learnable_temperature = true;
  return c;
}

Batch make_batch(const models::Config& c, std::int64_t rows, std::int64_t step) {
  PhiloxStream rng(7, RandomUse::test, static_cast<std::uint64_t>(step));
  const auto pixels = [&](std::int64_t px) {
    std::vector<std::uint8_t> v(static_cast<std::size_t>(rows * px * px * 3));
    for (auto& e : v) e = static_cast<std::uint8_t>(rng.next_u32());
    return Tensor::from(v, {rows, px, px, 3});
  };
  const auto genes = [&](std::int64_t n) {
    std::vector<float> v(static_cast<std::size_t>(rows * n));
    for (auto& e : v) e = rng.uniform();
    return Tensor::from(v, {rows, n});
  };
  Batch b;
  b.step = step;
  b.first_sample = 100 + rows * step;
  b.spot_image = pixels(c.spot_image_px);
  b.niche_image = pixels(c.niche_image_px);
  b.spot_gene = genes(c.spot_gene_width);
  b.niche_gene = genes(c.genes);
  std::vector<std::int32_t> slide, cluster;
  for (std::int64_t i = 0; i < rows; ++i) {
    slide.push_back(static_cast<std::int32_t>(i % 2));
    cluster.push_back(static_cast<std::int32_t>(i % 3) - 1);
  }
  b.slide = Tensor::from(slide, {rows});
  b.cluster = Tensor::from(cluster, {rows});
  b.xy_um = Tensor::zeros({rows, 2});
  return b;
}

struct Ran {
  std::vector<double> losses, norms;
  std::vector<std::vector<double>> weights;  // and buffers, in registration order
  bool replayed = false;
};

struct How {
  Device device;
  TrainerOptions options;
  std::int64_t steps = 5, rows = 6;
  bool poison = false;  // one step's expression is not finite
  bool keep_rounded = true;
};

Ran train(const How& how) {
  const models::Config c = small_config();
  models::StAlign model(c, 5, how.device);
  model.registry().keep_rounded(how.keep_rounded);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable()));
  const auto world = dist::make_self();
  TrainerOptions o = how.options;
  o.device = how.device;
  Trainer trainer(model, *optimizer, *world, o, how.rows);
  Ran ran;
  const auto stage = [&](std::int64_t s) {
    Batch batch = make_batch(c, how.rows, s);
    if (how.poison && s == 3) batch.niche_gene.data<float>()[0] = INFINITY;
    trainer.stage(batch);
  };
  stage(0);
  for (std::int64_t s = 0; s < how.steps; ++s) {
    const StepReport r = trainer.step({1e-4 * static_cast<double>(s + 1), 0.04, 1.0}, [&] {  // as the loop does
      if (s + 1 < how.steps) stage(s + 1);
    });
    EXPECT_EQ(r.skipped, how.poison && s == 3);
    ran.losses.push_back(r.loss);
    ran.norms.push_back(r.grad_norm);
  }
  for (const auto& e : model.registry().entries()) ran.weights.push_back(e.value().to_vector<double>());
  ran.replayed = trainer.replays();
  return ran;
}

// Relative L2 distance of all values.
double distance(const Ran& a, const Ran& b) {
  double d = 0, n = 0;
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    for (std::size_t k = 0; k < a.weights[i].size(); ++k) {
      d += std::pow(a.weights[i][k] - b.weights[i][k], 2);
      n += std::pow(b.weights[i][k], 2);
    }
  return std::sqrt(d / n);
}

void expect_near(const Ran& got, const Ran& want, double loss, double weights) {
  for (std::size_t s = 0; s < want.losses.size(); ++s)
    EXPECT_TRUE(std::abs(got.losses[s] - want.losses[s]) <= loss * std::abs(want.losses[s]))
        << "step " << s << ": " << got.losses[s] << " against " << want.losses[s];
  EXPECT_TRUE(distance(got, want) <= weights) << distance(got, want);
}

class CudaTrain : public test::Twin {};

TEST_F(CudaTrain, StepsAsOnTheCpu) {
  How how;
  how.options.graph = false;
  const Ran want = train(how);
  how.device = kGpu;
  const Ran got = train(how);
  EXPECT_FALSE(got.replayed);
  expect_near(got, want, 1e-4, 1e-4);
}

TEST_F(CudaTrain, ACapturedStepIsTheSameStep) {
  for (const bool micro : {false, true}) {
    How how{.device = kGpu};
    how.options.graph = false;
    how.options.micro_batch = micro ? 3 : 0;
    how.options.activation_checkpointing = micro;
    how.options.loss.negatives = kernels::Negatives::other_cluster;
    const Ran plain = train(how);
    how.options.graph = true;
    const Ran graph = train(how);
    EXPECT_TRUE(graph.replayed);
    EXPECT_EQ(graph.losses, plain.losses);
    EXPECT_EQ(graph.norms, plain.norms);
    EXPECT_EQ(graph.weights, plain.weights);  // num_batches_tracked too
  }
}

TEST_F(CudaTrain, ANonFiniteStepChangesNoWeightInEitherMode) {
  How how{.device = kGpu};
  how.poison = true;
  how.options.batch_norm = BatchNormMode::frozen;  // running statistics would take the infinity in
  how.options.graph = false;
  const Ran plain = train(how);
  how.options.graph = true;
  const Ran graph = train(how);
  EXPECT_EQ(graph.weights, plain.weights);
  for (const auto& w : graph.weights)
    for (const double v : w) ASSERT_TRUE(std::isfinite(v));
}

TEST_F(CudaTrain, Bf16StaysNearTheCpus) {
  How how;
  how.options.compute = DType::bf16;
  how.steps = 3;
  const Ran want = train(how);
  how.device = kGpu;
  expect_near(train(how), want, 2e-2, 2e-2);
}

TEST_F(CudaTrain, WeightsKeptInBf16AreThoseRoundedAtUse) {
  How how{.device = kGpu};
  how.options.compute = DType::bf16;
  how.options.graph = false;
  how.keep_rounded = false;
  const Ran rounded_at_use = train(how);
  how.keep_rounded = true;
  for (const bool graph : {false, true}) {
    how.options.graph = graph;
    const Ran kept = train(how);
    EXPECT_EQ(kept.replayed, graph);
    EXPECT_EQ(kept.losses, rounded_at_use.losses);
    EXPECT_EQ(kept.norms, rounded_at_use.norms);
    EXPECT_EQ(kept.weights, rounded_at_use.weights);
  }
}

TEST_F(CudaTrain, EmbeddingsAsOnTheCpu) {
  const models::Config c = small_config();
  const models::StAlign host(c, 5), device(c, 5, kGpu);
  const Batch batch = make_batch(c, 5, 0);
  const auto want = eval::embed_batch(host, batch, DType::f32),
             got = eval::embed_batch(device, batch, DType::f32, kGpu);
  for (std::size_t e = 0; e < want.size(); ++e)
    for (std::size_t i = 0; i < want[e].size(); ++i)
      ASSERT_TRUE(std::abs(got[e][i] - want[e][i]) <= 1e-5F) << "embedding " << e << " element " << i;
}

}  // namespace
}  // namespace spn::train
