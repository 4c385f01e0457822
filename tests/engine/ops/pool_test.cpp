// Pooling against PyTorch, against differences in double, strided, empty.
#include "engine/ops/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using Pool = std::function<Var(const Var&)>;

// Distinct values: a maximum with a tie has no derivative.
Tensor distinct(const Shape& shape, DType t = DType::f64) {
  std::vector<double> v(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i * 37 % v.size()) * 0.01 - 0.3;
  return Tensor::from(v, shape).to(t);
}

TEST(Pool, AgreesWithPyTorch) {
  const Golden golden("pooling");
  ASSERT_GT(golden.cases().size(), 6U);
  for (const std::string& name : golden.cases()) {
    SCOPED_TRACE(name);
    const auto number = [&](const char* what) { return static_cast<int>(golden.tensor(name + "." + what).item()); };
    const Var x(golden.tensor(name + ".x"), true);
    Var y;
    if (name.starts_with("max"))
      y = ops::max_pool2d(x, number("kernel"), number("stride"), number("pad"));
    else if (name.starts_with("avg"))
      y = ops::avg_pool2d(x, number("kernel"), number("stride"), number("pad"));
    else if (name.starts_with("adaptive"))
      y = ops::adaptive_avg_pool2d(x, number("height"), number("width"));
    else
      y = ops::global_avg_pool(x);
    backward({y}, {golden.tensor(name + ".gy")});
    EXPECT_TRUE(close(y.value(), golden.tensor(name + ".y"), tolerance(DType::f32, 28)));
    EXPECT_TRUE(close(x.grad(), golden.tensor(name + ".grad_x"), tolerance(DType::f32, 9)));
  }
}

const std::vector<std::pair<const char*, Pool>> kPools = {
    {"max 3/2/1", [](const Var& x) { return ops::max_pool2d(x, 3, 2, 1); }},
    {"max 2/1", [](const Var& x) { return ops::max_pool2d(x, 2, 1); }},
    {"average 3/2/1", [](const Var& x) { return ops::avg_pool2d(x, 3, 2, 1); }},
    {"average 2/2", [](const Var& x) { return ops::avg_pool2d(x, 2, 2); }},
    {"adaptive 3 x 2", [](const Var& x) { return ops::adaptive_avg_pool2d(x, 3, 2); }},
    {"adaptive up", [](const Var& x) { return ops::adaptive_avg_pool2d(x, 9, 11); }},
    {"global", [](const Var& x) { return ops::global_avg_pool(x); }},
};

TEST(Pool, GradientsAgreeWithDifferences) {
  for (const auto& [name, f] : kPools) {
    SCOPED_TRACE(name);
    const auto on_first = [&f = f](const std::vector<Var>& v) { return f(v[0]); };
    EXPECT_TRUE(gradcheck(on_first, {distinct({2, 3, 7, 5})}));
    EXPECT_TRUE(gradcheck(on_first, {distinct({1, 17, 4, 4})}));
  }
}

TEST(Pool, StridedAndLowPrecisionAgree) {
  for (const auto& [name, f] : kPools) {
    SCOPED_TRACE(name);
    for (const DType t : {DType::f64, DType::f32, DType::bf16}) {
      const Tensor x = distinct({2, 3, 7, 5}, t);
      const Var reference(x.to(DType::f64), true), strided(strided_copy(x), true);
      const Var want = f(reference), got = f(strided);
      const Tensor dy = random(want.shape(), 5, t);
      backward({want}, {dy.to(DType::f64)});
      backward({got}, {strided_copy(dy)});
      EXPECT_TRUE(close(got.value(), want.value(), tolerance(t, 35)));
      EXPECT_TRUE(close(strided.grad(), reference.grad(), tolerance(t, 9)));
    }
  }
}

TEST(Pool, EmptyBatch) {
  for (const auto& [name, f] : kPools) {
    const Var x(Tensor::empty({0, 3, 7, 5}), true);
    const Var y = f(x);
    EXPECT_EQ(y.dim(0), 0) << name;
    backward({y}, {Tensor::empty(y.shape())});
    EXPECT_EQ(x.grad().shape(), x.shape()) << name;
  }
}

TEST(Pool, MaximumKeepsNanAndInfinity) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = Tensor::from(std::vector<float>{1, nan, 2, 3, -inf, -inf, -inf, -inf}, {2, 1, 2, 2});
  const auto y = ops::max_pool2d(Var(x), 2, 2).value().to_vector<float>();
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], -inf);
}

TEST(Pool, ErrorsExplain) {
  const Var x(random({2, 3, 6, 5}, 1));
  EXPECT_THROW(ops::max_pool2d(x, 3, 0), Error);
  EXPECT_THROW(ops::max_pool2d(x, 3, 1, 2), Error);
  EXPECT_THROW(ops::avg_pool2d(x, 8, 1), Error);
  EXPECT_THROW(ops::adaptive_avg_pool2d(x, 0, 1), Error);
  try {
    ops::global_avg_pool(Var(random({3, 6}, 1)));
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("[3, 6]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace spn::test
