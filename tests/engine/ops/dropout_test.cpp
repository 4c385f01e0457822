// Dropout's promise: what is kept depends on seed, step, layer, global sample and element, and on nothing else.
#include "engine/ops/dropout.h"

#include <gtest/gtest.h>

#include "engine/ops/attention.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "engine/ops/shape.h"
#include "kernels/math/dropout.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using ops::DropoutKey;

const DropoutKey kKey{.seed = 0x123456789abcdefULL, .step = 70000, .layer = 12, .first_sample = 5, .p = 0.3};

// The rule, element by element.
double factor(const DropoutKey& key, std::int64_t sample, std::int64_t e) {
  const auto bits = kernels::dropout_bits(key.seed, key.step, key.layer, sample, e);
  return uniform01(bits) >= key.p ? 1 / (1 - key.p) : 0.0;
}

TEST(Dropout, FollowsTheRule) {
  for (const std::int64_t width : {1, 3, 64, 65, 129, 3000}) {
    const Var x(Tensor::full({3, width}, 1, DType::f64));
    const auto y = ops::dropout(x, kKey).value().to_vector<double>();
    for (std::int64_t s = 0; s < 3; ++s)
      for (std::int64_t e = 0; e < width; ++e)
        ASSERT_EQ(y[static_cast<std::size_t>(s * width + e)], factor(kKey, kKey.first_sample + s, e)) << s << " " << e;
  }
}

TEST(Dropout, KeepsTheExpectedShareAndMean) {
  const Var x(Tensor::full({64, 4096}, 1));
  double sum = 0, kept = 0;
  for (double v : ops::dropout(x, kKey).value().to_vector<double>()) sum += v, kept += v != 0;
  const double n = 64 * 4096, sigma = std::sqrt(0.3 * 0.7 / n);
  EXPECT_LE(std::abs(kept / n - 0.7), 5 * sigma);
  EXPECT_LE(std::abs(sum / n - 1), 5 * sigma / 0.7);
}

TEST(Dropout, AnyDivisionOfTheBatchGivesTheSame) {
  const Tensor x = random({7, 131}, 1, DType::f32);
  const auto whole = ops::dropout(Var(x), kKey).value();
  for (std::int64_t cut : {1, 3, 6}) {
    DropoutKey second = kKey;
    second.first_sample += cut;
    EXPECT_TRUE(close(ops::dropout(Var(x.narrow(0, 0, cut)), kKey).value(), whole.narrow(0, 0, cut), {0, 0}));
    EXPECT_TRUE(
        close(ops::dropout(Var(x.narrow(0, cut, 7 - cut)), second).value(), whole.narrow(0, cut, 7 - cut), {0, 0}));
  }
}

TEST(Dropout, EveryPartOfTheKeyMatters) {
  const Var x(Tensor::full({2, 256}, 1));
  const auto base = ops::dropout(x, kKey).value().to_vector<float>();
  std::vector<DropoutKey> others(5, kKey);
  others[0].seed += 1ULL << 40;
  others[1].step += 1;
  others[2].layer += 1;
  others[3].first_sample += 2;
  others[4].p = 0.4;
  for (const DropoutKey& k : others) EXPECT_NE(ops::dropout(x, k).value().to_vector<float>(), base);
  EXPECT_EQ(ops::dropout(x, kKey).value().to_vector<float>(), base);
}

TEST(Dropout, WithoutProbabilityIsTheInputItself) {
  const Var x(random({3, 4}, 1, DType::f32), true);
  EXPECT_EQ(ops::dropout(x, {.p = 0}).node(), x.node());
}

// The fused kernel against softmax, the mask of the rule, and two products.
TEST(Attention, DropoutEqualsTheComposition) {
  struct Case {
    std::int64_t b, tq, tk, heads, width;
  };
  for (const Case& c : {Case{2, 8, 8, 2, 4}, Case{1, 17, 17, 3, 8}, Case{2, 40, 7, 1, 16}, Case{1, 70, 71, 2, 3}}) {
    SCOPED_TRACE(c.tk);
    const Tensor q = random({c.b, c.tq, c.heads * c.width}, 1), k = random({c.b, c.tk, c.heads * c.width}, 2),
                 v = random({c.b, c.tk, c.heads * c.width}, 3);
    const auto heads = [&](const Tensor& t) {
      return Var(t.reshape({c.b, t.dim(1), c.heads, c.width}).transpose(1, 2));
    };
    std::vector<double> mask;
    for (std::int64_t b = 0; b < c.b; ++b)
      for (std::int64_t e = 0; e < c.heads * c.tq * c.tk; ++e) mask.push_back(factor(kKey, kKey.first_sample + b, e));
    const Var logits = ops::affine(ops::matmul(heads(q), ops::transpose(heads(k), -1, -2)),
                                   1 / std::sqrt(static_cast<double>(c.width)));
    const Var p = ops::mul(ops::softmax(logits), Var(Tensor::from(mask, {c.b, c.heads, c.tq, c.tk})));
    const Tensor want = ops::matmul(p, heads(v)).value().transpose(1, 2).reshape(q.shape());
    EXPECT_TRUE(close(ops::cross_attention(Var(q), Var(k), Var(v), static_cast<int>(c.heads), kKey).value(), want,
                      tolerance(DType::f64, c.tk)));
  }
}

}  // namespace
}  // namespace spn::test
