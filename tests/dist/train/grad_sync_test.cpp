// Gradients summed in buckets during backward against plain all-reduces.
#include "engine/train/grad_sync.h"

#include <gtest/gtest.h>

#include <functional>

#include "engine/ops/conv.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/pool.h"
#include "engine/ops/reduce.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

using test::close;
using test::random;

// A few parameters of odd sizes, one of them of another dtype and one stored channels-last.
struct Model {
  std::vector<Var> parameters;
  Model() {
    for (const Shape& s : {Shape{7, 3}, Shape{1}, Shape{130}, Shape{64, 65}, Shape{5, 5}})
      parameters.emplace_back(random(s, 10 + parameters.size(), DType::f32), true,
                              "p" + std::to_string(parameters.size()));
    parameters.emplace_back(random({9}, 20, DType::f64), true, "double");
    parameters.emplace_back(random({4, 3, 2, 2}, 21, DType::f32).channels_last(), true, "conv");
    parameters.emplace_back(random({6}, 22, DType::f32), false, "frozen");
  }
  // Σ p · (a random tensor of this rank), over the chosen parameters.
  std::vector<Var> terms(int rank, int pass, const std::vector<bool>& used) const {
    std::vector<Var> out;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (used[i]) out.push_back(ops::sum(ops::mul(parameters[i], Var(coefficient(rank, pass, i)))));
    return out;
  }
  Tensor coefficient(int rank, int pass, std::size_t i) const {
    const auto stream = 1000 + static_cast<std::uint64_t>(rank * 100 + pass * 10) + i;
    return random(parameters[i].shape(), stream, parameters[i].dtype());
  }
  void clear() const {
    for (const Var& p : parameters) p.clear_grad();
  }
  static void run(const std::vector<Var>& terms) {
    std::vector<Tensor> seeds;
    for (const Var& t : terms) seeds.push_back(Tensor::full(t.shape(), 1, t.dtype()));
    backward(terms, seeds);
  }
  // What parameter i's gradient is after `passes`: the sum over ranks and passes of coefficients, where used.
  Tensor expected(int ranks, int passes, std::size_t i, const std::function<bool(int rank, int pass)>& used) const {
    std::vector<double> sum(static_cast<std::size_t>(parameters[i].value().numel()), 0);
    for (int r = 0; r < ranks; ++r)
      for (int p = 0; p < passes; ++p) {
        if (!used(r, p)) continue;
        const auto c = coefficient(r, p, i).to_vector<double>();
        for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += c[k];
      }
    return Tensor::from(sum, parameters[i].shape());
  }
};

constexpr std::size_t kFrozen = 7;
const std::vector<bool> kAll(8, true);

TEST(GradSync, EqualsPlainSums) {
  dist::Comm& comm = test::world();
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{300}, std::size_t{1} << 20}) {
    const Model m;
    GradSync sync(m.parameters, comm, bytes);
    EXPECT_EQ(sync.buckets() > 0, comm.size() > 1);
    for (int step = 0; step < 3; ++step) {
      m.clear();
      sync.enable(true);
      Model::run(m.terms(comm.rank(), step, kAll));
      sync.finish();
      for (std::size_t i = 0; i < kFrozen; ++i) {
        const Tensor want = m.expected(comm.size(), step + 1, i, [&](int, int p) { return p == step; });
        const auto same = close(m.parameters[i].grad(), want, {1e-6, 1e-6});
        EXPECT_TRUE(same) << same << " parameter " << i << ", buckets of " << bytes;
      }
      EXPECT_FALSE(m.parameters[kFrozen].grad());
    }
  }
}

// Layers whose kernels write gradients where the buckets want them; what cannot be made there is copied.
TEST(GradSync, GradientsAreMadeInTheBuckets) {
  dist::Comm& comm = test::world();
  const auto parameter = [](const Shape& s, std::uint64_t seed) { return Var(random(s, seed, DType::f32), true); };
  // one stored channels-last, where the convolution wants it contiguous, one with gaps, and p[4] is used twice
  const Var channels_last(random({4, 3, 3, 3}, 1, DType::f32).channels_last(), true);
  const Var with_gaps(random({6, 5}, 3, DType::f32).transpose(0, 1), true);
  const std::vector<Var> p = {channels_last,        parameter({6, 4, 1, 1}, 2), with_gaps,        parameter({5}, 4),
                              parameter({5, 5}, 5), parameter({5, 5}, 6),       parameter({5}, 7)};
  const std::vector<bool> there = {false, true, false, true, false, true, true};
  const auto run = [&](int rank) {
    const Var image(random({2, 3, 4, 4}, 50 + static_cast<std::uint64_t>(rank), DType::f32).channels_last());
    Var y = ops::conv2d(ops::conv2d(image, p[0], {}, 1, 1), p[1], {});
    y = ops::linear(ops::global_avg_pool(y), p[2], p[3]);
    y = ops::linear(ops::linear(ops::linear(y, p[4], {}), p[4], {}), p[5], p[6]);
    backward(ops::sum(ops::square(y)));
  };
  const auto clear = [&] {
    for (const Var& v : p) v.clear_grad();
  };
  std::vector<Tensor> want;
  for (int r = 0; r < comm.size(); ++r) run(r);  // one after the other: their sum
  for (const Var& v : p) want.push_back(v.grad());
  clear();
  GradSync sync(p, comm, 400);
  std::vector<const void*> slots;
  for (int step = 0; step < 3; ++step) {
    slots.clear();
    sync.enable(true);
    run(comm.rank());
    sync.finish();
    for (std::size_t i = 0; i < p.size(); ++i) {
      const auto same = close(p[i].grad(), want[i], {1e-5, 1e-5});
      EXPECT_TRUE(same) << same << " parameter " << i << ", step " << step;
      slots.push_back(p[i].grad().view().data);
    }
    clear();
  }
  run(comm.rank());  // off: what lies in the slots was made there
  for (std::size_t i = 0; i < p.size(); ++i)
    EXPECT_EQ(p[i].grad().view().data == slots[i], there[i] && comm.size() > 1) << i;
}

// A bucket may be under way: a gradient that comes too late is made elsewhere.
TEST(GradSync, NobodyWritesIntoABucketThatMayBeUnderWay) {
  dist::Comm& comm = test::world();
  const std::vector<Var> p = {Var(random({3, 4}, 1, DType::f32), true), Var(random({2, 3}, 2, DType::f32), true)};
  const auto run = [&](std::uint64_t pass) {
    const Var x(random({5, 4}, 10 * pass + static_cast<std::uint64_t>(comm.rank()), DType::f32));
    backward(ops::sum(ops::linear(ops::linear(x, p[0], {}), p[1], {})));
  };
  const auto clear = [&] {
    for (const Var& v : p) v.clear_grad();
  };
  GradSync sync(p, comm, 1);
  sync.enable(true);
  run(1);
  sync.finish();
  const Tensor want = p[0].grad().clone();
  const void* const slot = p[0].grad().view().data;
  clear();
  sync.enable(true);
  run(1);
  sync.enable(false);
  if (comm.size() > 1) {
    run(2);  // of no account to the sums, which have begun
    EXPECT_NE(p[0].grad().view().data, slot);
  }
  sync.finish();
  EXPECT_TRUE(close(p[0].grad(), want, {0, 0}));
}

TEST(GradSync, UnusedParametersCountAsZeros) {
  dist::Comm& comm = test::world();
  const Model m;
  GradSync sync(m.parameters, comm, 300);
  // p1 nowhere, p2 on rank 0 alone, p3 on all but rank 0
  std::vector<bool> used = kAll;
  used[1] = false;
  used[2] = comm.rank() == 0;
  used[3] = comm.rank() != 0;
  for (int step = 0; step < 2; ++step) {
    m.clear();
    sync.enable(true);
    Model::run(m.terms(comm.rank(), 0, used));
    sync.finish();
    EXPECT_FALSE(m.parameters[1].grad());  // as with one rank
    EXPECT_TRUE(close(m.parameters[2].grad(), m.expected(1, 1, 2, [](int, int) { return true; }), {1e-6, 1e-6}));
    EXPECT_EQ(static_cast<bool>(m.parameters[3].grad()), comm.size() > 1);
    if (comm.size() > 1) {
      EXPECT_TRUE(close(m.parameters[3].grad(), m.expected(comm.size(), 1, 3, [](int r, int) { return r != 0; }),
                        {1e-6, 1e-6}));
    }
    EXPECT_TRUE(
        close(m.parameters[0].grad(), m.expected(comm.size(), 1, 0, [](int, int) { return true; }), {1e-6, 1e-6}));
  }
}

TEST(GradSync, AccumulatesLocallyAndReducesOnce) {
  dist::Comm& comm = test::world();
  const Model m;
  GradSync sync(m.parameters, comm, 300);
  for (int pass = 0; pass < 3; ++pass) {
    sync.enable(pass == 2);
    // p4 is used in the first pass only: its hook never runs while enabled
    std::vector<bool> used = kAll;
    used[4] = pass == 0;
    Model::run(m.terms(comm.rank(), pass, used));
  }
  sync.finish();
  for (std::size_t i = 0; i < kFrozen; ++i) {
    const Tensor want = m.expected(comm.size(), 3, i, [&](int, int p) { return i != 4 || p == 0; });
    EXPECT_TRUE(close(m.parameters[i].grad(), want, {1e-6, 2e-6})) << i;
  }
}

TEST(GradSync, ASecondBackwardWhileEnabledIsAnError) {
  dist::Comm& comm = test::world();
  if (comm.size() == 1) return;  // nothing is hooked
  const Model m;
  GradSync sync(m.parameters, comm, std::size_t{1} << 20);
  std::vector<bool> one(8, false);
  one[0] = true;
  sync.enable(true);
  Model::run(m.terms(comm.rank(), 0, one));
  EXPECT_THROW(Model::run(m.terms(comm.rank(), 1, one)), Error);
  sync.finish();
}

TEST(GradSync, LeavesNoHooksBehind) {
  dist::Comm& comm = test::world();
  const Model m;
  {
    GradSync sync(m.parameters, comm);
    sync.enable(true);
    sync.finish();
    sync.enable(true);
  }
  Model::run(m.terms(comm.rank(), 0, kAll));
  EXPECT_TRUE(close(m.parameters[0].grad(), m.coefficient(comm.rank(), 0, 0), {1e-6, 1e-6}));
}

}  // namespace
}  // namespace spn::train
