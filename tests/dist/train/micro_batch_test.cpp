// Gradients by parts against those of the whole batch: an MLP with dropout and two heads under the contrastive loss.
#include "engine/train/micro_batch.h"

#include <gtest/gtest.h>

#include "engine/ops/contrastive.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "engine/train/grad_sync.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

using test::close;
using test::random;

constexpr std::int64_t kRows = 16;  // of a rank

struct Mlp {
  Var w0, b0, w1, w2, log_scale, unused;
  Tensor input;
  std::int64_t first;
  std::vector<int> embedded, updated;  // how often each part was embedded, and asked to update statistics

  Mlp(DType t, const dist::Comm& comm)
      : w0(random({12, 5}, 1, t), true, "w0"),
        b0(random({12}, 2, t), true, "b0"),
        w1(random({4, 12}, 3, t), true, "w1"),
        w2(random({4, 12}, 4, t), true, "w2"),
        log_scale(Tensor::full({1}, 2.3, t), true, "log_scale"),
        unused(random({3}, 5, t), true, "unused"),
        input(random({kRows * comm.size(), 5}, 6, t).narrow(0, kRows * comm.rank(), kRows)),
        first(kRows * comm.rank()) {}
  std::vector<Var> parameters() const { return {w0, b0, w1, w2, log_scale, unused}; }

  MicroBatchTimes run(int parts, dist::Comm& comm, const std::function<void()>& last) {
    embedded.assign(static_cast<std::size_t>(parts), 0);
    updated = embedded;
    const std::int64_t n = kRows / parts;
    return accumulate_gradients(
        parts,
        [&](int part, bool update) {
          ++embedded[static_cast<std::size_t>(part)];
          updated[static_cast<std::size_t>(part)] += update;
          const Var x(input.narrow(0, part * n, n));
          const ops::DropoutKey key{.seed = 5, .step = 3, .layer = 1, .first_sample = first + part * n, .p = 0.25};
          const Var h = ops::dropout(ops::linear(x, w0, b0, ops::Activation::gelu), key);
          // the third head is not used by the loss
          return std::vector<Var>{ops::linear(h, w1, Var()), ops::linear(h, w2, Var()), ops::relu(h)};
        },
        [&](const std::vector<Var>& joined) {
          return ops::contrastive(ops::l2_normalise(joined[0]), ops::l2_normalise(joined[1]), ops::exp(log_scale), {},
                                  comm)
              .loss;
        },
        last);
  }
};

TEST(MicroBatch, GradientsDoNotDependOnTheParts) {
  dist::Comm& comm = test::world();
  for (const DType t : {DType::f64, DType::f32}) {
    Mlp whole(t, comm);
    whole.run(1, comm, nullptr);
    EXPECT_EQ(whole.embedded, std::vector<int>({1}));
    for (const int parts : {2, 4, 16}) {
      Mlp split(t, comm);
      bool last = false;
      const auto times = split.run(parts, comm, [&] { last = true; });
      EXPECT_TRUE(last);
      EXPECT_GE(times.forward_s, 0);
      EXPECT_GT(times.backward_s, 0);
      EXPECT_EQ(split.updated, std::vector<int>(static_cast<std::size_t>(parts), 1));
      EXPECT_EQ(split.embedded.back(), 1);
      EXPECT_EQ(split.embedded.front(), 2);
      const auto got = split.parameters(), want = whole.parameters();
      for (std::size_t i = 0; i < 5; ++i) {
        const auto tol = t == DType::f64 ? test::Tolerance{1e-12, 1e-15} : test::Tolerance{1e-4, 1e-6};
        const auto same = close(got[i].grad(), want[i].grad(), tol);
        EXPECT_TRUE(same) << same << " " << got[i].name() << " in " << parts << " parts";
      }
      EXPECT_FALSE(split.unused.grad());
    }
  }
}

TEST(MicroBatch, WithGradSyncEqualsOneRankOnTheJoinedBatch) {
  dist::Comm& comm = test::world();
  const auto self = dist::make_self();
  Mlp joined(DType::f64, *self);
  joined.input = random({kRows * comm.size(), 5}, 6, DType::f64);
  // one rank, all rows in one part
  const auto one = [&] {
    const ops::DropoutKey key{.seed = 5, .step = 3, .layer = 1, .first_sample = 0, .p = 0.25};
    const Var h = ops::dropout(ops::linear(Var(joined.input), joined.w0, joined.b0, ops::Activation::gelu), key);
    backward(ops::contrastive(ops::l2_normalise(ops::linear(h, joined.w1, Var())),
                              ops::l2_normalise(ops::linear(h, joined.w2, Var())), ops::exp(joined.log_scale), {},
                              *self)
                 .loss);
  };
  one();
  for (const int parts : {1, 4}) {
    Mlp mine(DType::f64, comm);
    GradSync sync(mine.parameters(), comm, 256);
    mine.run(parts, comm, [&] { sync.enable(true); });
    sync.finish();
    const auto got = mine.parameters(), want = joined.parameters();
    for (std::size_t i = 0; i < 5; ++i) {
      const auto same = close(got[i].grad(), want[i].grad(), {1e-11, 1e-14});
      EXPECT_TRUE(same) << same << " " << got[i].name() << " in " << parts << " parts";
    }
  }
}

TEST(MicroBatch, HeadsThatDisagreeAreNamed) {
  const auto one = [](int, bool) { return std::vector<Var>{Var(Tensor::zeros({2, 1})), Var(Tensor::zeros({3, 1}))}; };
  EXPECT_THROW(accumulate_gradients(
                   2, one, [](const std::vector<Var>& v) { return v[0]; }, nullptr),
               Error);
  EXPECT_THROW(accumulate_gradients(
                   0, one, [](const std::vector<Var>& v) { return v[0]; }, nullptr),
               Error);
}

}  // namespace
}  // namespace spn::train
