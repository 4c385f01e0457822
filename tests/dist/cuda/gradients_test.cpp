// Gradients of the whole model that go over the ranks in many small buckets while the backward pass of an emulated
// device goes on: element by element beside one rank's, whenever the sums happen, plain and captured.
#include <gtest/gtest.h>

#include <limits>

#include "engine/dist/buckets.h"
#include "engine/ops/image.h"
#include "engine/train/grad_sync.h"
#include "engine/train/losses.h"
#include "engine/train/step_graph.h"
#include "tests/dist/cuda/small_model.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/nccl.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

using emulator::Side;
using test::kGlobal;
using test::kGpu;

struct How {
  std::size_t bytes = 2048;  // of a bucket
  bool graph = false;
  int steps = 1;
};

struct Ran {
  std::vector<Tensor> gradients;  // of the last step, on the host
  int buckets = 0;
};

// Forward, three losses over all ranks and backward, `steps` times the same.
Ran gradients(dist::Comm& comm, const How& how) {
  const models::Config config = test::small_config();
  const models::StAlign model(config, 5, kGpu, DType::f64);
  const std::vector<Var> parameters = model.registry().trainable();
  GradSync sync(parameters, comm, how.bytes);
  StepGraph graph(model.registry(), kGpu, how.graph, comm.size() == 1);
  const Batch batch = test::part_of(test::global_batch(config, 0), comm.rank(), comm.size());
  const auto image = [](const Tensor& t) { return ops::image_embed(t.to(kGpu), {}, DType::f64); };
  models::Inputs in;
  in.spot_image = image(batch.spot_image);
  in.niche_image = image(batch.niche_image);
  in.spot_gene = batch.spot_gene.to(kGpu);
  in.niche_gene = batch.niche_gene.to(kGpu);
  nn::Context c;
  c.training = true;
  c.comm = &comm;
  c.first_sample = batch.first_sample;
  c.compute = DType::f64;
  Ran ran;
  ran.buckets = sync.buckets();
  for (int s = 0; s < how.steps; ++s) {
    // what a replay does not write is seen
    for (const Var& p : parameters)
      if (p.grad()) p.grad().fill(std::numeric_limits<double>::quiet_NaN());
    graph.run([&] {
      for (const Var& p : parameters) p.clear_grad();
      const auto z = model.embed(in, c);
      const Var total = contrastive_losses(model, {z.begin(), z.end()}, {}, {}, comm, 1).total;
      sync.enable(true);
      backward(total);
      sync.finish();
    });
  }
  EXPECT_EQ(graph.replays(), how.graph);
  for (const Var& p : parameters) ran.gradients.push_back(p.grad() ? p.grad().to(Device{}).clone() : Tensor());
  return ran;
}

void expect_equal(const Ran& got, const Ran& want, const test::Tolerance& tolerance) {
  ASSERT_EQ(got.gradients.size(), want.gradients.size());
  for (std::size_t i = 0; i < want.gradients.size(); ++i) {
    ASSERT_EQ(static_cast<bool>(got.gradients[i]), static_cast<bool>(want.gradients[i])) << i;
    if (!want.gradients[i]) continue;
    const auto same = close(got.gradients[i], want.gradients[i], tolerance);
    ASSERT_TRUE(same) << same << " parameter " << i;
  }
}
constexpr test::Tolerance kBits{0, 0};

class GradientsOnDevices : public testing::Test {
 protected:
  GradientsOnDevices() : nccl(dist::make_nccl(test::world(), nullptr, {})) {}
  ~GradientsOnDevices() override {
    emulator::set_side(Side::early);
    emulator::set_polls(-1);
    emulator::set_observer({});
  }
  std::unique_ptr<dist::Comm> nccl;
};

TEST_F(GradientsOnDevices, EqualOneRanks) {
  const Ran one = gradients(*dist::make_self(), {}), ranks = gradients(*nccl, {});
  EXPECT_GT(ranks.buckets, 3);
  expect_equal(ranks, one, test::tolerance(DType::f64, kGlobal * 9 * 9));
  emulator::set_side(Side::late);
  expect_equal(gradients(*nccl, {}), ranks, kBits);
  for (const Side side : {Side::early, Side::late}) {
    emulator::set_side(side);
    expect_equal(gradients(*nccl, {.graph = true, .steps = 4}), ranks, kBits);
  }
}

// On a device a sum is under way until it is waited for, MPI's may be over sooner: a bucket is its own in both.
TEST_F(GradientsOnDevices, HoweverOftenASumIsNotOverYet) {
  emulator::set_side(Side::late);
  const Ran want = gradients(*nccl, {});
  for (const int polls : {0, 1, 3}) {
    SCOPED_TRACE(polls);
    emulator::set_polls(polls);
    const emulator::CommCounts before = emulator::comm_counts();
    const Ran ran = gradients(*nccl, {.bytes = 1});
    EXPECT_GT(ran.buckets, 20);
    expect_equal(ran, want, kBits);
    EXPECT_EQ(emulator::comm_counts().not_yet > before.not_yet, polls > 0);
    EXPECT_GT(emulator::comm_counts().done, before.done);
  }
}

// Beside the gradients a bucket says which of them there are, and is summed again in every step.
TEST_F(GradientsOnDevices, FlagsDoNotGrowFromStepToStep) {
  std::vector<Var> parameters;
  std::vector<dist::BucketPiece> pieces;
  for (const std::int64_t n : {5, 70, 3}) {
    parameters.emplace_back(Tensor::full({n}, 1, DType::f32, kGpu), true);
    pieces.push_back({n, DType::f32});
  }
  constexpr std::size_t kBytes = 256;
  const dist::BucketLayout layout = dist::lay_out_buckets(pieces, kBytes);
  ASSERT_GT(layout.buckets.size(), 1U);
  const auto ranks = static_cast<float>(nccl->size());
  std::size_t sums = 0;
  emulator::set_observer({{}, [&](const View& v) {
                            const auto& b = layout.buckets[sums++ % layout.buckets.size()];
                            for (std::int64_t i = b.flags; i < b.numel && i < v.numel(); ++i)
                              EXPECT_TRUE(v.ptr<float>()[i] <= ranks) << "sum " << sums << ": " << v.ptr<float>()[i];
                          }});
  GradSync sync(parameters, *nccl, kBytes);
  for (int step = 0; step < 3; ++step) {
    for (const Var& p : parameters) p.clear_grad();
    sync.enable(true);
    // the second brings none: it has none in any step
    backward({parameters[0], parameters[2]},
             {Tensor::full({5}, step + 1, DType::f32, kGpu), Tensor::full({3}, 2, DType::f32, kGpu)});
    sync.finish();
    EXPECT_TRUE(close(parameters[0].grad().to(Device{}), Tensor::full({5}, ranks * (step + 1)), kBits)) << step;
    EXPECT_FALSE(parameters[1].grad());
    EXPECT_TRUE(close(parameters[2].grad().to(Device{}), Tensor::full({3}, ranks * 2), kBits)) << step;
  }
  EXPECT_EQ(sums, 3 * layout.buckets.size());
}

}  // namespace
}  // namespace spn::train
