// Recall at k against brute force, and its edges: perfect, collapsed, NaN, pooled over slides.
#include "engine/eval/retrieval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensors.h"

namespace spn::eval {
namespace {

// Brute force over a small set, by sorting.
double brute(const std::vector<float>& a, const std::vector<float>& b, int n, int d, int k) {
  int hits = 0;
  for (int i = 0; i < n; ++i) {
    int better = 0;
    const auto dot = [&](int j) {
      double s = 0;
      for (int c = 0; c < d; ++c) s += double(a[std::size_t(i) * d + c]) * b[std::size_t(j) * d + c];
      return s;
    };
    for (int j = 0; j < n; ++j) better += j != i && dot(j) >= dot(i);
    hits += better < k;
  }
  return double(hits) / n;
}

TEST(Recall, EqualsBruteForceBothWays) {
  const int n = 67, d = 5;
  const auto x = test::random({n, d}, 1, DType::f32).to_vector<float>();
  auto y = test::random({n, d}, 2, DType::f32).to_vector<float>();
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = 0.5F * y[i] + 0.5F * x[i];
  const Recall r = recall(x.data(), y.data(), n, d);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(r.forward[k], brute(x, y, n, d, kRecallAt[k]), 1e-12);
    EXPECT_NEAR(r.backward[k], brute(y, x, n, d, kRecallAt[k]), 1e-12);
    EXPECT_NEAR(r.chance[k], kRecallAt[k] / 67.0, 1e-12);
  }
  EXPECT_GT(r.forward[0], r.chance[0]);
}

TEST(Recall, PerfectCollapsedAndNan) {
  const std::vector<float> eye = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  EXPECT_EQ(recall(eye.data(), eye.data(), 3, 3).forward[0], 1.0);
  const std::vector<float> same(60, 0.5F);
  EXPECT_EQ(recall(same.data(), same.data(), 20, 3).forward[2], 0.0) << "collapsed embeddings must not look perfect";
  std::vector<float> bad = eye;
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_LT(recall(bad.data(), eye.data(), 3, 3).forward[2], 1.0);
}

TEST(Recall, PoolsByQueries) {
  Recall a, b;
  a.queries = 10, a.forward[0] = 1;
  b.queries = 30, b.forward[0] = 0;
  EXPECT_NEAR(pooled({a, b}).forward[0], 0.25, 1e-12);
}

}  // namespace
}  // namespace spn::eval
