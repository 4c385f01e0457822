// The whole model on the CUDA device: training steps beside the CPU's, plain and as a captured graph.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "engine/ckpt/checkpoint.h"
#include "engine/eval/embed.h"
#include "engine/optim/ema.h"
#include "engine/train/loop.h"
#include "engine/train/trainer.h"
#include "tests/cuda/twin.h"
#include "tests/support/counting_comm.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/random_batch.h"
#include "tests/support/temp_folder.h"

namespace spn::train {
namespace {

using test::kGpu;

models::Config small_config() {
  models::Config c = test::read_model_config(std::string(SPN_SOURCE_DIR) + "/tests/golden/st_align_small.cfg");
  c.dropout = 0.1;
  c.learnable_temperature = true;
  return c;
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
  double rate = 1e-4;   // of the first step; of the second twice, …
  bool poison = false;  // one step's expression is not finite
  bool keep_rounded = true;
  std::int64_t ahead = 0;  // steps that are begun before the oldest is finished
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
    Batch batch = test::random_batch(c, how.rows, s);
    if (how.poison && s == 3) batch.niche_gene.data<float>()[0] = INFINITY;
    trainer.stage(batch);
  };
  optim::Ema averages(model.registry(), 0.9);
  const auto finish = [&](std::int64_t s) {
    const StepReport r = trainer.finish();
    EXPECT_EQ(r.skipped, how.poison && s == 3);
    ran.losses.push_back(r.loss);
    ran.norms.push_back(r.grad_norm);
  };
  stage(0);
  for (std::int64_t s = 0; s < how.steps; ++s) {
    trainer.begin({how.rate * static_cast<double>(s + 1), 0.04, 1.0});
    averages.update(optimizer->squares());
    if (s + 1 < how.steps) stage(s + 1);
    if (s >= how.ahead) finish(s - how.ahead);
  }
  for (std::int64_t s = how.steps - how.ahead; s < how.steps; ++s) finish(s);
  EXPECT_THROW(trainer.finish(), Error);
  EXPECT_EQ(optimizer->steps(), how.steps - (how.poison ? 1 : 0));
  for (const auto& [name, t] : averages.state()) ran.weights.push_back(t.to_vector<double>());
  for (const auto& e : model.registry().entries()) ran.weights.push_back(e.value().to_vector<double>());
  ran.replayed = trainer.replays();
  return ran;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += std::pow(a[i] - b[i], 2);
  return std::sqrt(d);
}

// Of all values, relative L2.
double distance(const Ran& a, const Ran& b) {
  double d = 0, n = 0;
  for (std::size_t i = 0; i < a.weights.size(); ++i) {
    d += std::pow(distance(a.weights[i], b.weights[i]), 2);
    n += std::pow(distance(b.weights[i], std::vector<double>(b.weights[i].size())), 2);
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

// AdamW's first updates are nearly the sign of a gradient, whatever its size, and training amplifies what rounding
// turns (docs/numerics.md). Tight are therefore small steps; large ones where products and convolutions are the CPU's
// own, as in the emulator, and not the libraries' in another order.
TEST_F(CudaTrain, StepsAsOnTheCpu) {
  for (const bool small : {true, false}) {
    How how;
    how.options.graph = false;
    how.steps = small ? 3 : 5;
    how.rate = small ? 1e-5 : 1e-4;
    const Ran want = train(how);
    how.device = kGpu;
    const Ran got = train(how);
    EXPECT_FALSE(got.replayed);
    const double bound = small || test::device_orders() > 1 ? 1e-4 : 1e-3;
    expect_near(got, want, bound, bound);
  }
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

// The host a step ahead, as the loop is: the same bits, and a step that is not finite is skipped and named all the
// same.
TEST_F(CudaTrain, AStepAheadIsTheSameRun) {
  for (const bool graph : {false, true}) {
    How how{.device = kGpu};
    how.poison = true;  // step 3
    how.options.batch_norm = BatchNormMode::frozen;
    how.options.graph = graph;
    const Ran at_once = train(how);
    how.ahead = 1;
    const Ran ahead = train(how);
    ASSERT_EQ(ahead.losses.size(), at_once.losses.size());
    for (std::size_t s = 0; s < at_once.losses.size(); ++s)
      EXPECT_TRUE(ahead.losses[s] == at_once.losses[s] || s == 3) << s;
    ASSERT_EQ(ahead.norms.size(), at_once.norms.size());
    for (std::size_t s = 0; s < at_once.norms.size(); ++s)
      EXPECT_TRUE(ahead.norms[s] == at_once.norms[s] || (std::isnan(ahead.norms[s]) && std::isnan(at_once.norms[s])))
          << s << ": " << ahead.norms[s] << " against " << at_once.norms[s];
    EXPECT_EQ(ahead.weights, at_once.weights);
  }
}

class Batches final : public BatchSource {
 public:
  explicit Batches(std::int64_t first) : step_(first) {}
  Batch next() override {
    Batch batch = test::random_batch(small_config(), kRows, step_++);
    if (batch.step == 3) batch.niche_gene.data<float>()[0] = INFINITY;
    return batch;
  }
  static constexpr std::int64_t kRows = 6;

 private:
  std::int64_t step_;
};

// Six steps of the loop with a checkpoint after `stop`, when it is not 6 by a signal there; from the newest one on.
LoopEnd loop(const std::string& folder, Device device, std::int64_t stop, dist::Comm& world) {
  models::StAlign model(small_config(), 5, device);
  const auto optimizer = optim::make_adamw(optim::make_items(model.registry().trainable()));
  TrainerOptions t;
  t.batch_norm = BatchNormMode::frozen;
  t.device = device;
  LoopOptions o;
  o.run_dir = folder;
  o.steps = 6;
  o.global_batch = Batches::kRows;
  o.lr = {.start = 1e-3, .end = 1e-4, .total = 6};
  o.weight_decay = {.start = 0.04, .end = 0.1, .total = 6};
  o.clip_norm = 1;
  o.config_json = "{}";
  o.device = device;
  optim::Ema averages(model.registry(), 0.9);
  std::int64_t first = 0;
  if (const auto newest = ckpt::find_latest(folder)) first = restore(*newest, model, *optimizer, o, &averages).step;
  RunLog log(folder, true, first > 0 ? first : -1, o.steps);
  Trainer trainer(model, *optimizer, world, t, Batches::kRows);
  Batches source(first);
  std::int64_t asked = first;
  return run_loop(
      trainer, model, *optimizer, source, world, log, o, first, [&] { return ++asked == stop; }, &averages);
}
LoopEnd loop(const std::string& folder, Device device, std::int64_t stop) {
  return loop(folder, device, stop, *dist::make_self());
}

std::vector<std::string> lines_of(const std::string& path, const std::string& with = "") {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (line.find(with) != std::string::npos) lines.push_back(line);
  return lines;
}

// Results are read a step late, and yet every step has its line, the step that was not finite is named before the
// checkpoint that comes after it, and a run that was stopped and resumed around it is the run that was not.
TEST_F(CudaTrain, TheLoopIsAStepAheadAndLosesNothing) {
  const test::TempFolder folder;
  ASSERT_EQ(loop(folder / "whole", kGpu, 6), LoopEnd::finished);
  ASSERT_EQ(loop(folder / "parts", kGpu, 3), LoopEnd::stopped);
  EXPECT_EQ(lines_of(folder / "parts/metrics.jsonl").size(), 3U);
  ASSERT_EQ(loop(folder / "parts", kGpu, 4), LoopEnd::stopped);
  ASSERT_EQ(loop(folder / "parts", kGpu, 6), LoopEnd::finished);
  ASSERT_EQ(loop(folder / "cpu", Device{}, 6), LoopEnd::finished);
  for (const char* run : {"whole", "parts", "cpu"}) {
    SCOPED_TRACE(run);
    const auto metrics = lines_of(folder / run + "/metrics.jsonl");
    ASSERT_EQ(metrics.size(), 6U);
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(metrics[i].find(fmt::format("{{\"step\":{},", i + 1)), 0U) << metrics[i];
      EXPECT_EQ(metrics[i].find("\"grad_norm\":null") != std::string::npos, i == 3) << metrics[i];
    }
    const auto events = lines_of(folder / run + "/events.jsonl");
    const auto at = [&](const std::string& what) {
      return std::find_if(events.begin(), events.end(),
                          [&](const std::string& e) { return e.find(what) != std::string::npos; }) -
             events.begin();
    };
    ASSERT_EQ(lines_of(folder / run + "/events.jsonl", "skipped_step").size(), 1U);
    EXPECT_NE(lines_of(folder / run + "/events.jsonl", "skipped_step")[0].find("\"step\":4"), std::string::npos);
    EXPECT_LT(at("skipped_step"), at(std::string(run) == "parts" ? "step-00000004" : "step-00000006"));
  }
  const auto read = [&](const char* run) { return ckpt::load(folder / run + "/checkpoints/step-00000006"); };
  const ckpt::Loaded whole = read("whole"), parts = read("parts"), cpu = read("cpu");
  EXPECT_EQ(*whole.optimizer.at("step").data<std::int64_t>(), 5);  // one of six changed nothing
  const auto equal = [&](const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, value] : a) EXPECT_TRUE(test::close(value, b.at(name), {0, 0})) << name;
  };
  equal(parts.model, whole.model);
  equal(parts.ema, whole.ema);
  equal(parts.optimizer, whole.optimizer);
  ASSERT_EQ(cpu.ema.size(), whole.ema.size());
  for (const auto& [name, average] : cpu.ema) {  // a step moves a weight by 1e-3, whose sign rounding may turn
    const std::vector<double> want = average.to_vector<double>(), got = whole.ema.at(name).to_vector<double>(),
                              none(want.size());
    const double size = distance(want, none), off = distance(got, want);
    EXPECT_TRUE(off <= 1e-3 * size + 1e-3 * std::sqrt(static_cast<double>(want.size()))) << name << ": " << off;
  }
}

// Whatever ends the run, the steps queued before it have their lines, and the first error is the one that is told.
TEST_F(CudaTrain, AStepThatCannotBeginLosesNoneBeforeIt) {
  for (const bool for_good : {false, true}) {
    SCOPED_TRACE(for_good);
    const test::TempFolder folder;
    const auto self = dist::make_self();
    test::CountingComm world(*self);
    // asked twice (of the world and of the group of negatives) by each of begin 0, 1, finish 0, begin 2, finish 1
    world.lost_from = 10;
    world.lost_to = for_good ? 1000 : 11;
    try {
      loop(folder / "run", kGpu, 6, world);
      ADD_FAILURE() << "the fourth step could not begin";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("a rank is lost, call 10"), std::string::npos) << e.what();
    }
    EXPECT_EQ(lines_of(folder / "run/metrics.jsonl").size(), for_good ? 2U : 3U);
  }
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
  const Batch batch = test::random_batch(c, 5, 0);
  const auto want = eval::embed_batch(host, batch, DType::f32),
             got = eval::embed_batch(device, batch, DType::f32, kGpu);
  for (std::size_t e = 0; e < want.size(); ++e)
    for (std::size_t i = 0; i < want[e].size(); ++i)
      ASSERT_TRUE(std::abs(got[e][i] - want[e][i]) <= 1e-5F) << "embedding " << e << " element " << i;
}

}  // namespace
}  // namespace spn::train
