// Training steps of several ranks, each on an emulated device of its own: beside one rank with the same global batch,
// and captured steps, whose collectives are replayed, beside plain ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/train/trainer.h"
#include "tests/dist/cuda/small_model.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/nccl.h"
#include "tests/support/tolerance.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

using test::kGlobal;
using test::kGpu;

// In double, where ranks that sum in another order part by 1e-14 and a ReLU's input is not turned by rounding. A
// weight's gradient sums over a batch's pixels.
const test::Tolerance kSums = test::tolerance(DType::f64, kGlobal * 9 * 9);

struct How {
  dist::Comm* comm;
  TrainerOptions options;
  std::int64_t steps = 4;  // two plain ones, one that is captured where that is wanted, one that is only replayed
  bool poison = false;     // of steps 1 and 3, rank 0's first row
  double lr = 0.1, clip_norm = 1;
  int part = 0, parts = 1;  // of the batch, the one that these ranks have
};

struct Ran {
  std::vector<StepReport> reports;
  std::vector<std::vector<double>> weights;  // and buffers, after each step
  std::int64_t waits = 0;                    // of the host, in the last step
  std::int64_t updates = 0;
  bool replayed = false;
};

Ran train(const How& how) {
  const models::Config c = test::small_config();
  models::StAlign model(c, 5, how.options.device, how.options.compute);
  // a step goes as far as its gradient does, where AdamW's would be nearly the gradient's sign, whatever its size
  const auto optimizer = optim::make_sgd(optim::make_items(model.registry().trainable()));
  const int rank = how.comm->rank() + how.part * how.comm->size(), ranks = how.parts * how.comm->size();
  Trainer trainer(model, *optimizer, *how.comm, how.options, kGlobal / ranks);
  Ran ran;
  for (std::int64_t s = 0; s < how.steps; ++s) {
    const Batch batch = test::global_batch(c, s);
    if (how.poison && s % 2 == 1) batch.niche_gene.data<float>()[0] = std::numeric_limits<float>::infinity();
    const std::int64_t before = emulator::host_waits();
    ran.reports.push_back(trainer.step(test::part_of(batch, rank, ranks), {.lr = how.lr, .clip_norm = how.clip_norm}));
    ran.waits = emulator::host_waits() - before;
    auto& now = ran.weights.emplace_back();
    for (const auto& e : model.registry().entries())
      for (const double v : e.value().to_vector<double>()) now.push_back(v);
  }
  ran.replayed = trainer.replays();
  ran.updates = optimizer->steps();
  return ran;
}

// near: within kSums; else the same bits, or both no number.
void expect_equal(const Ran& got, const Ran& want, bool near) {
  const auto equal = [&](double a, double b) {
    return near ? test::near(a, b, kSums) : a == b || (std::isnan(a) && std::isnan(b));
  };
  ASSERT_EQ(got.reports.size(), want.reports.size());
  for (std::size_t s = 0; s < want.reports.size(); ++s) {
    SCOPED_TRACE(fmt::format("step {}", s));
    const StepReport &a = got.reports[s], &b = want.reports[s];
    for (int t = 0; t < 3; ++t) {
      EXPECT_TRUE(equal(a.loss_of[t], b.loss_of[t])) << t << ": " << a.loss_of[t] << " against " << b.loss_of[t];
      EXPECT_TRUE(equal(a.accuracy_of[t], b.accuracy_of[t])) << t << ": " << a.accuracy_of[t];
    }
    EXPECT_TRUE(equal(a.grad_norm, b.grad_norm)) << a.grad_norm << " against " << b.grad_norm;
    EXPECT_EQ(a.skipped, b.skipped);
    ASSERT_EQ(got.weights[s].size(), want.weights[s].size());
    for (std::size_t i = 0; i < want.weights[s].size(); ++i)
      ASSERT_TRUE(equal(got.weights[s][i], want.weights[s][i]))
          << "value " << i << ": " << got.weights[s][i] << " against " << want.weights[s][i];
  }
  EXPECT_EQ(got.updates, want.updates);
}
void expect_near(const Ran& got, const Ran& want) { expect_equal(got, want, true); }
void expect_same(const Ran& got, const Ran& want) { expect_equal(got, want, false); }

class TrainOnDevices : public testing::Test {
 protected:
  TrainOnDevices() : nccl(dist::make_nccl(test::world(), nullptr, {})), self(dist::make_self()) {}
  ~TrainOnDevices() override {
    emulator::set_side(emulator::Side::early);
    emulator::set_observer({});
  }
  // The step as it is replayed; its collectives were recorded.
  Ran captured(How how, emulator::Side side) const {
    emulator::set_side(side);
    how.options.graph = true;
    const std::int64_t before = emulator::comm_counts().recorded;
    const Ran ran = train(how);
    EXPECT_TRUE(ran.replayed);
    EXPECT_GT(emulator::comm_counts().recorded, before);
    return ran;
  }
  Ran plain(How how, emulator::Side side) const {
    emulator::set_side(side);
    how.options.graph = false;
    const std::int64_t before = emulator::comm_counts().recorded;
    const Ran ran = train(how);
    EXPECT_EQ(emulator::comm_counts().recorded, before);
    return ran;
  }
  std::unique_ptr<dist::Comm> nccl, self;
};

using emulator::Side;

TEST_F(TrainOnDevices, RanksStepAsOneRankDoes) {
  How how{.comm = self.get()};
  how.options.device = kGpu;
  how.options.compute = DType::f64;
  const Ran one = plain(how, Side::early);
  how.comm = nccl.get();
  const std::int64_t sums = emulator::comm_counts().sums;
  const Ran ranks = plain(how, Side::early);
  EXPECT_EQ(emulator::comm_counts().sums - sums, how.steps);  // one bucket
  expect_near(ranks, one);
  expect_same(plain(how, Side::late), ranks);
  const Ran replayed = captured(how, Side::late);
  expect_same(replayed, ranks);
  EXPECT_EQ(replayed.waits, 1);  // for the results, and never for another rank
}

// What pairs are made of (slide, position) is gathered on the device too.
TEST_F(TrainOnDevices, PairsOfOtherRanksAreLeftOut) {
  How how{.comm = self.get(), .steps = 3};
  how.options.device = kGpu;
  how.options.compute = DType::f64;
  how.options.loss.negatives = kernels::Negatives::exclude_radius;
  how.options.loss.exclude_radius_um = 40;
  const Ran one = plain(how, Side::early);
  how.comm = nccl.get();
  expect_near(captured(how, Side::early), one);
  how.options.loss.negatives = kernels::Negatives::all;
  how.steps = 1;
  EXPECT_GT(std::abs(plain(how, Side::early).reports[0].loss - one.reports[0].loss), 1e-3);  // some are
}

// Groups of half the ranks, each rank's rows in parts: beside the same ranks on the CPU, over MPI.
TEST_F(TrainOnDevices, GroupsAndPartsAsOnTheCpu) {
  How how{.comm = &test::world()};
  const std::int64_t ranks = test::world().size(), rows = kGlobal / ranks;
  how.options.compute = DType::f64;
  how.options.max_negatives = ranks / 2 * rows - 1;
  how.options.micro_batch = rows / 2;
  how.options.activation_checkpointing = true;
  how.options.augment_stain = 0;  // whose exponentials, in single precision, are not the CPU's
  how.options.loss.negatives = kernels::Negatives::other_cluster;
  const Ran cpu = plain(how, Side::early);
  how.comm = nccl.get();
  how.options.device = kGpu;
  expect_near(captured(how, Side::late), cpu);
}

// Groups of half the ranks take the mean of what each half of the batch would have come to alone.
TEST_F(TrainOnDevices, GroupsTakeTheMeanOfTheirRuns) {
  How how{.comm = nccl.get(), .steps = 1, .clip_norm = 0};
  const std::int64_t rows = kGlobal / nccl->size();
  how.options.device = kGpu;
  how.options.compute = DType::f64;
  how.options.batch_norm = BatchNormMode::frozen;
  how.options.max_negatives = kGlobal / 2 - 1;
  how.options.micro_batch = rows / 2;
  const Ran ranks = plain(how, Side::late);
  how.comm = self.get();
  how.options.micro_batch = 0;
  how.parts = 2;
  const Ran first = plain(how, Side::early);
  how.part = 1;
  Ran mean = plain(how, Side::early);
  for (int t = 0; t < 3; ++t)
    for (const auto value : {&StepReport::loss_of, &StepReport::accuracy_of}) {
      double& v = (mean.reports[0].*value)[t];
      v = (v + (first.reports[0].*value)[t]) / 2;
    }
  for (std::size_t i = 0; i < mean.weights[0].size(); ++i)
    mean.weights[0][i] = (mean.weights[0][i] + first.weights[0][i]) / 2;
  mean.reports[0].grad_norm = ranks.reports[0].grad_norm;  // of the mean, which is no mean of norms
  expect_near(ranks, mean);
}

// At a rate of 0 a step changes running statistics alone.
TEST_F(TrainOnDevices, BatchStatisticsAreOfAllGroups) {
  How how{.comm = self.get(), .steps = 1, .lr = 0};
  how.options.device = kGpu;
  how.options.compute = DType::f64;
  const Ran one = plain(how, Side::early);
  how.comm = nccl.get();
  how.options.max_negatives = kGlobal / 2 - 1;
  const Ran ranks = plain(how, Side::early);
  ASSERT_EQ(ranks.weights[0].size(), one.weights[0].size());
  for (std::size_t i = 0; i < one.weights[0].size(); ++i)
    ASSERT_TRUE(test::near(ranks.weights[0][i], one.weights[0][i], kSums)) << i;
}

// Batch statistics and negatives are a rank's own: what is not finite stays one rank's until gradients are summed.
TEST_F(TrainOnDevices, WhatIsNotFiniteOnOneRankIsSkippedOnAll) {
  How how{.comm = nccl.get(), .poison = true};
  const int rank = nccl->rank();
  how.options.device = kGpu;
  how.options.batch_norm = BatchNormMode::frozen;
  how.options.max_negatives = kGlobal / nccl->size() - 1;
  std::vector<bool> mine, all;
  const auto finite = [](const View& v) {
    return std::all_of(v.ptr<float>(), v.ptr<float>() + v.numel(), [](float x) { return std::isfinite(x); });
  };
  emulator::set_observer(
      {[&](const View& v) { mine.push_back(finite(v)); }, [&](const View& v) { all.push_back(finite(v)); }});
  const Ran ran = plain(how, Side::early);
  EXPECT_EQ(mine, std::vector<bool>({true, rank != 0, true, rank != 0}));
  EXPECT_EQ(all, std::vector<bool>({true, false, true, false}));
  expect_same(captured(how, Side::late), ran);
  for (std::size_t s = 0; s < 4; ++s) EXPECT_EQ(ran.reports[s].skipped, s % 2 == 1) << s;
  EXPECT_EQ(ran.updates, 2);
  EXPECT_TRUE(ran.weights[1] == ran.weights[0]);
  EXPECT_TRUE(ran.weights[2] != ran.weights[1]);
  EXPECT_TRUE(ran.weights[3] == ran.weights[2]);
  std::vector<double> first = ran.weights.back();
  test::world().broadcast(host_view(first.data(), {static_cast<std::int64_t>(first.size())}), 0);
  EXPECT_TRUE(first == ran.weights.back());
}

}  // namespace
}  // namespace spn::train
