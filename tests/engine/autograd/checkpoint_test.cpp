// A checkpointed part gives the same values and gradients, keeps less, and runs twice.
#include "engine/autograd/checkpoint.h"

#include <gtest/gtest.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/reduce.h"
#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn {
namespace {

struct Chain {
  Var w{test::random({64, 64}, 1), true, "w"};
  int calls = 0, repeats = 0;
  // ten steps of which each would keep its input
  Var operator()(const std::vector<Var>& in, bool again) {
    ++calls;
    repeats += again ? 1 : 0;
    Var y = in[0];
    for (int i = 0; i < 10; ++i) y = ops::mul(ops::tanh(y), w);
    return in.size() > 1 ? ops::add(y, in[1]) : y;
  }
};

std::size_t in_use() { return kernels::cpu_table().memory().in_use; }

TEST(Checkpoint, SameValuesAndGradients) {
  Chain chain;
  const auto run = [&](bool checkpointed) {
    const Var x(test::random({64, 64}, 2), true), b(test::random({64, 64}, 3), true);
    chain.w.clear_grad();
    const Segment part = [&](const std::vector<Var>& in, bool again) { return chain(in, again); };
    const Var y = checkpointed ? checkpoint(part, {x, b}) : part({x, b}, false);
    backward(ops::sum(ops::mul(y, y)));
    return std::vector{y.value(), x.grad(), b.grad(), chain.w.grad()};
  };
  const auto plain = run(false), recomputed = run(true);
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_EQ(plain[i].to_vector<double>(), recomputed[i].to_vector<double>()) << i;
  EXPECT_EQ(chain.calls, 3);
  EXPECT_EQ(chain.repeats, 1);
}

TEST(Checkpoint, KeepsOnlyWhatEnters) {
  Chain chain;
  const Var x(test::random({64, 64}, 2), true);
  const Segment part = [&](const std::vector<Var>& in, bool again) { return chain(in, again); };
  const std::size_t before = in_use();
  {
    const Var plain = part({x}, false);
    EXPECT_GT(in_use() - before, std::size_t{15} * 64 * 64 * 8);
  }
  const Var y = checkpoint(part, {x});
  EXPECT_LT(in_use() - before, std::size_t{2} * 64 * 64 * 8) << "the result and little else";
}

TEST(Checkpoint, OnlyParametersWantGradients) {
  Chain chain;
  const Var x(test::random({64, 64}, 2));
  int ready = 0;
  chain.w.on_grad_ready([&] { ++ready; });
  backward(ops::sum(checkpoint([&](const std::vector<Var>& in, bool again) { return chain(in, again); }, {x})));
  ASSERT_TRUE(chain.w.grad());
  EXPECT_EQ(ready, 1);
  chain.w.on_grad_ready(nullptr);
}

TEST(Checkpoint, NothingTrainedIsNotRecorded) {
  Chain chain;
  chain.w.set_requires_grad(false);
  const Var x(test::random({64, 64}, 2));
  const Var y = checkpoint([&](const std::vector<Var>& in, bool again) { return chain(in, again); }, {x});
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(chain.calls, 1);
}

TEST(Checkpoint, OneInsideAnother) {
  const auto run = [](bool checkpointed) {
    Chain inner;
    const Var x(test::random({64, 64}, 4), true);
    const Segment in = [&](const std::vector<Var>& v, bool again) { return inner(v, again); };
    const Segment out = [&](const std::vector<Var>& v, bool) {
      return ops::square(checkpointed ? checkpoint(in, v) : in(v, false));
    };
    backward(ops::sum(checkpointed ? checkpoint(out, {x}) : out({x}, false)));
    return std::vector{x.grad().to_vector<double>(), inner.w.grad().to_vector<double>()};
  };
  EXPECT_EQ(run(false), run(true));
}

}  // namespace
}  // namespace spn
