// What the rows of op_list.h do not reach: no rows at all, scalars, refusals and their messages.
#include <gtest/gtest.h>

#include "engine/ops/attention.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using namespace ops;  // NOLINT
using Vars = std::vector<Var>;

Var leaf(const Shape& shape, DType dtype = DType::f32) { return Var(random(shape, 3, dtype), true); }
Tensor index_of(const std::vector<std::int64_t>& i) { return Tensor::from(i, {static_cast<std::int64_t>(i.size())}); }

struct EmptyCase {
  const char* name;
  std::vector<Shape> inputs;
  std::function<Var(const Vars&)> f;
  Shape want;
};

// Gradients of absent rows are empty; those of parameters are zero.
TEST(NoRows, GiveEmptyResultsAndZeroParameterGradients) {
  const DropoutKey key{.p = 0.5};
  const std::vector<EmptyCase> cases = {
      {"add", {{0, 3}, {3}}, [](const Vars& v) { return add(v[0], v[1]); }, {0, 3}},
      {"gelu", {{0}}, [](const Vars& v) { return gelu(v[0]); }, {0}},
      {"sum", {{0, 3}}, [](const Vars& v) { return sum(v[0], {0}); }, {3}},
      {"sum_all", {{3, 0}}, [](const Vars& v) { return sum(v[0]); }, {}},
      {"sum_rows", {{0, 3}}, [](const Vars& v) { return sum(v[0], {1}); }, {0}},
      {"matmul", {{0, 3}, {3, 4}}, [](const Vars& v) { return matmul(v[0], v[1]); }, {0, 4}},
      {"matmul_no_terms", {{2, 0}, {0, 4}}, [](const Vars& v) { return matmul(v[0], v[1]); }, {2, 4}},
      {"linear", {{0, 3}, {4, 3}, {4}}, [](const Vars& v) { return linear(v[0], v[1], v[2]); }, {0, 4}},
      {"linear_tokens",
       {{0, 5, 3}, {4, 3}, {4}},
       [](const Vars& v) { return linear(v[0], v[1], v[2], Activation::gelu); },
       {0, 5, 4}},
      {"layer_norm", {{0, 3}, {3}, {3}}, [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-5); }, {0, 3}},
      {"add_layer_norm",
       {{0, 3}, {0, 3}, {3}, {3}, {3}},
       [](const Vars& v) { return add_layer_norm(v[0], v[1], v[2], v[3], v[4], 1e-5).normed; },
       {0, 3}},
      {"softmax", {{0, 3}}, [](const Vars& v) { return softmax(v[0]); }, {0, 3}},
      {"l2", {{0, 3}}, [](const Vars& v) { return l2_normalise(v[0]); }, {0, 3}},
      {"cross_entropy", {{0, 3}}, [](const Vars& v) { return cross_entropy(v[0], index_of({})); }, {0}},
      {"gather", {{4, 3}}, [](const Vars& v) { return gather_rows(v[0], index_of({})); }, {0, 3}},
      {"dropout", {{0, 3}}, [key](const Vars& v) { return dropout(v[0], key); }, {0, 3}},
      {"attention", {{0, 4, 12}}, [](const Vars& v) { return self_attention(v[0], 2); }, {0, 4, 4}},
      {"no_queries",
       {{2, 0, 4}, {2, 3, 4}, {2, 3, 4}},
       [](const Vars& v) { return cross_attention(v[0], v[1], v[2], 2); },
       {2, 0, 4}},
      {"concat", {{0, 3}, {2, 3}}, [](const Vars& v) { return concat(v, 0); }, {2, 3}},
  };
  for (const EmptyCase& c : cases) {
    SCOPED_TRACE(c.name);
    Vars v;
    for (const Shape& s : c.inputs) v.push_back(leaf(s));
    const Var y = c.f(v);
    EXPECT_EQ(y.shape().str(), c.want.str());
    backward({y}, {Tensor::full(y.shape(), 1)});
    if (std::string(c.name) == "concat") continue;  // has rows
    for (double e : y.value().to_vector<double>()) EXPECT_EQ(e, 0);
    for (const Var& leaf_of : v) {
      ASSERT_TRUE(leaf_of.grad());
      EXPECT_EQ(leaf_of.grad().shape().str(), leaf_of.shape().str());
      for (double e : leaf_of.grad().to_vector<double>()) EXPECT_EQ(e, 0);
    }
  }
}

TEST(NoTerms, BiasAndActivationStillApply) {
  const Var y = linear(leaf({2, 0}), leaf({3, 0}), Var(Tensor::from<float>({-1, 0, 2}, {3})), Activation::relu);
  EXPECT_TRUE(close(y.value(), Tensor::from<float>({0, 0, 2, 0, 0, 2}, {2, 3}), {0, 0}));
}

// What is wrong, what was there: each message names its op and both shapes.
TEST(Refusals, Explain) {
  struct Case {
    std::function<Var()> f;
    std::vector<const char*> words;
  };
  const std::vector<Case> cases = {
      {[] {
         return add(leaf({2, 3}), leaf({4}));
       },
       {"[add]", "broadcast", "[2, 3]", "[4]"}},
      {[] { return mul(leaf({2}), leaf({2}, DType::f64)); }, {"[mul]", "f32", "f64", "cast"}},
      {[] { return add(leaf({2}), {}); }, {"[add]", "no second"}},
      {[] { return gelu(Var(index_of({1}))); }, {"[gelu]", "floating", "i64"}},
      {[] { return cast(leaf({2}), DType::i32); }, {"[cast]", "floating", "i32"}},
      {[] {
         return matmul(leaf({2, 3}), leaf({4, 5}));
       },
       {"[matmul]", "k is 3 and 4"}},
      {[] {
         return matmul(leaf({3}), leaf({3, 5}));
       },
       {"[matmul]", "two dims"}},
      {[] {
         return matmul(leaf({2, 2, 3}), leaf({3, 3, 5}));
       },
       {"[matmul]", "broadcast"}},
      {[] {
         return linear(leaf({2, 3}), leaf({5, 4}), {});
       },
       {"[linear]", "[..., 4]", "[2, 3]"}},
      {[] {
         return linear(leaf({2, 3}), leaf({5, 3}), leaf({3}));
       },
       {"[linear]", "bias", "[5]", "[3]"}},
      {[] {
         return layer_norm(leaf({2, 3}), leaf({4}), leaf({3}), 1e-5);
       },
       {"[layer_norm]", "w", "[3]", "[4]"}},
      {[] {
         return add_layer_norm(leaf({2, 3}), leaf({3}), {}, leaf({3}), leaf({3}), 1e-5).sum;
       },
       {"[add_layer_norm]", "branch", "[2, 3]", "[3]"}},
      {[] {
         return add_layer_norm(leaf({2, 3}), leaf({2, 3}), leaf({2}), leaf({3}), leaf({3}), 1e-5).sum;
       },
       {"[add_layer_norm]", "gate", "[3]", "[2]"}},
      {[] { return softmax(leaf({})); }, {"[softmax]", "scalar"}},
      {[] {
         return sum(leaf({2, 3}), {0, 0});
       },
       {"[sum]", "distinct", "[2, 3]"}},
      {[] {
         return mean(leaf({2, 3}), {2});
       },
       {"[mean]", "[2, 3]"}},
      {[] {
         return self_attention(leaf({2, 3, 10}), 2);
       },
       {"[self_attention]", "3·H·Dh", "[2, 3, 10]"}},
      {[] {
         return cross_attention(leaf({2, 3, 4}), leaf({3, 3, 4}), leaf({3, 3, 4}), 2);
       },
       {"[cross_attention]", "k", "[2, -1, 4]", "[3, 3, 4]"}},
      {[] { return dropout(leaf({2}), {.p = 1}); }, {"[dropout]", "[0, 1)"}},
      {[] {
         return cross_entropy(leaf({2, 3}), index_of({0, 3}));
       },
       {"[cross_entropy]", "row 1", "[0, 3)", "got 3"}},
      {[] {
         return cross_entropy(leaf({2, 3}), index_of({0}));
       },
       {"[cross_entropy]", "i64 [2]", "[1]"}},
      {[] {
         return gather_rows(leaf({2, 3}), index_of({0, -1}));
       },
       {"[gather_rows]", "index 1 is -1", "[0, 2)"}},
      {[] {
         return concat({leaf({2, 3}), leaf({2, 4})}, 0);
       },
       {"[concat]", "[2, 3]", "[2, 4]"}},
      {[] { return concat({}, 0); }, {"[concat]", "at least one"}},
      {[] {
         return permute(leaf({2, 3}), {0, 0});
       },
       {"[permute]", "twice"}},
      {[] {
         return narrow(leaf({2, 3}), 1, 2, 2);
       },
       {"[narrow]", "[2, 4)", "[2, 3]"}},
      {[] {
         return reshape(leaf({2, 3}), {4, -1});
       },
       {"[reshape]", "[2, 3]"}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    try {
      cases[i].f();
      ADD_FAILURE() << "expected a refusal";
    } catch (const Error& e) {
      for (const char* word : cases[i].words)
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << word << " in: " << e.what();
    }
  }
}

TEST(Cast, GradientComesBackInTheOriginalDtype) {
  const Var x = leaf({5});
  backward(sum(cast(x, DType::bf16)));
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_TRUE(close(x.grad(), Tensor::full({5}, 1), {0, 0}));
}

TEST(ClampMax, GradientPassesAtTheLimitOnly) {
  const Var x(Tensor::from<float>({0.5F, 1.0F, 1.5F}, {3}), true);
  const Var y = clamp_max(x, 1.0);
  backward(sum(y));
  EXPECT_TRUE(close(y.value(), Tensor::from<float>({0.5F, 1, 1}, {3}), {0, 0}));
  EXPECT_TRUE(close(x.grad(), Tensor::from<float>({1, 1, 0}, {3}), {0, 0}));
}

TEST(Linear, FusedActivationIsTheSameWithoutATape) {
  const Var x = leaf({9, 33}), w = leaf({17, 33}), b = leaf({17});
  for (const Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
    const Var recorded = linear(x, w, b, act);
    const NoGrad no_grad;
    EXPECT_TRUE(close(linear(x, w, b, act).value(), recorded.value(), tolerance(DType::f32, 33)));
  }
}

}  // namespace
}  // namespace spn::test
