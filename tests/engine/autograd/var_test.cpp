// The tape: accumulation, hooks, shared gradients, depth, misuse.
#include "engine/autograd/var.h"

#include <gtest/gtest.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "tests/support/tensors.h"

namespace spn {
namespace {

TEST(Tape, AddsUpWhatSeveralConsumersContribute) {
  const Var x(Tensor::full({3}, 2, DType::f64), true);
  backward(ops::sum(ops::add(ops::mul(x, x), x)));
  for (const double g : x.grad().to_vector<double>()) EXPECT_DOUBLE_EQ(g, 5);
  backward(ops::sum(x));
  for (const double g : x.grad().to_vector<double>()) EXPECT_DOUBLE_EQ(g, 6) << "backward adds to what is there";
}

TEST(Tape, AnExpandedGradientIsNotAddedToInPlace) {
  // mean hands over one number for all elements: adding to it there would add everything to one place
  const Var x(test::random({3, 5}, 1), true);
  const Var squares = ops::square(x), mean = ops::mean(x);
  const Tensor dy = test::random({3, 5}, 2);
  backward({squares, mean}, {dy, Tensor::full({}, 30, DType::f64)});
  const auto in = x.value().to_vector<double>(), d = dy.to_vector<double>(), got = x.grad().to_vector<double>();
  for (std::size_t i = 0; i < in.size(); ++i) EXPECT_NEAR(got[i], 2 * in[i] * d[i] + 2, 1e-12) << i;
}

// A gradient is made in the memory given for it, but for one that is summed up or that an op hands over.
TEST(Tape, AGradientIsMadeInTheMemoryGivenForIt) {
  const auto leaf = [](const Shape& s, std::uint64_t seed) { return Var(test::random(s, seed), true); };
  const Var x(test::random({5, 3}, 1)), w = leaf({4, 3}, 2), b = leaf({4}, 3), twice = leaf({4, 4}, 4),
                                        set = leaf({5, 4}, 5);
  const auto loss = [&] {
    const Var y = ops::linear(x, w, b);
    return ops::sum(ops::mul(ops::linear(ops::linear(y, twice, {}), twice, {}), set));
  };
  backward(loss());
  std::vector<Tensor> plain, memory;
  for (const Var& v : {w, b, twice, set}) {
    plain.push_back(v.grad());
    memory.push_back(Tensor::full(v.shape(), 7, DType::f64));
    v.clear_grad();
    v.make_grad_in(memory.back());
  }
  const auto expect_grads = [&](double times, const std::vector<bool>& in_place) {
    std::size_t i = 0;
    for (const Var& v : {w, b, twice, set}) {
      EXPECT_EQ(v.grad().view().data == memory[i].view().data, in_place[i]) << i;
      EXPECT_TRUE(test::close(v.grad(), ops::affine(Var(plain[i]), times).value(), {1e-12, 1e-12})) << i;
      ++i;
    }
  };
  backward(loss());
  expect_grads(1, {true, true, false, false});
  backward(loss());  // added to what is there: memory of their own, and the first sum is left as it was
  expect_grads(2, {false, false, false, false});
  EXPECT_TRUE(test::close(memory[0], plain[0], {1e-12, 1e-12}));
  for (const Var& v : {w, b, twice, set}) v.clear_grad();
  backward(loss());
  expect_grads(1, {true, true, false, false});
  for (const Var& v : {w, b, twice, set}) v.clear_grad();
  w.make_grad_in({});
  backward(loss());
  expect_grads(1, {false, true, false, false});
  EXPECT_THROW(w.make_grad_in(Tensor::zeros({3, 4}, DType::f64)), Error);
  EXPECT_THROW(w.make_grad_in(Tensor::zeros({4, 3}, DType::f32)), Error);
  EXPECT_THROW(w.make_grad_in(Tensor::zeros({3, 4}, DType::f64).transpose(0, 1)), Error);
}

TEST(Tape, SharedUpstreamGradientIsNotWrittenTo) {
  // add hands one dy to both inputs; a further consumer of one input must not change the other's
  const Var a(Tensor::full({2}, 1, DType::f64), true), b(Tensor::full({2}, 1, DType::f64), true);
  const Var s = ops::add(a, b);
  backward(ops::sum(ops::add(s, ops::affine(a, 3))));
  EXPECT_DOUBLE_EQ(a.grad().to_vector<double>()[0], 4);
  EXPECT_DOUBLE_EQ(b.grad().to_vector<double>()[0], 1);
}

TEST(Tape, HooksRunOncePerPassWhenTheGradientIsComplete) {
  const Var x(Tensor::full({1}, 3, DType::f64), true);
  int calls = 0;
  double seen = 0;
  x.on_grad_ready([&] {
    ++calls;
    seen = x.grad().item();
  });
  backward(ops::sum(ops::add(ops::square(x), ops::mul(x, x))));
  EXPECT_EQ(calls, 1);
  EXPECT_DOUBLE_EQ(seen, 12);
}

TEST(Tape, AHundredThousandOpsDeep) {
  const Var x(Tensor::full({1}, 1, DType::f64), true);
  {
    Var y = x;
    for (int i = 0; i < 100000; ++i) y = ops::affine(y, 1, 0);
    backward(ops::sum(y));
  }
  EXPECT_DOUBLE_EQ(x.grad().item(), 1);
  {
    Var y = x;  // dropped without backward: freed without recursion
    for (int i = 0; i < 100000; ++i) y = ops::affine(y, 1, 0);
  }
}

TEST(Tape, NoGradRecordsNothingAndConstantsGetNothing) {
  const Var x(Tensor::full({1}, 1, DType::f64), true), c(Tensor::full({1}, 1, DType::f64));
  {
    const NoGrad scope;
    EXPECT_FALSE(ops::square(x).requires_grad());
  }
  backward(ops::sum(ops::mul(x, c)));
  EXPECT_FALSE(c.grad());
}

TEST(Tape, SecondBackwardOverOneTapeSaysSo) {
  const Var x(Tensor::full({1}, 1, DType::f64), true);
  const Var y = ops::sum(ops::square(x));
  backward(y);
  try {
    backward(y);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("ran twice"), std::string::npos) << e.what();
  }
}

TEST(Tape, FreesWhatItSavedWhileItWalks) {
  const Var x(Tensor::full({1 << 16}, 1, DType::f64), true);
  Var y = x;
  for (int i = 0; i < 8; ++i) y = ops::square(y);
  const Var loss = ops::sum(y);
  y = Var();
  backward(loss);
  EXPECT_TRUE(x.grad());
}

}  // namespace
}  // namespace spn
