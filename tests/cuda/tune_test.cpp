// Which candidate of a library is taken when they are timed.
#include "kernels/cuda/lib/tune.h"

#include <gtest/gtest.h>

namespace spn::kernels::cuda {
namespace {

constexpr double kRefused = std::numeric_limits<double>::infinity();

std::vector<int> ordered(const std::vector<double>& seconds) {
  std::vector<int> candidates;
  for (std::size_t i = 0; i < seconds.size(); ++i) candidates.push_back(static_cast<int>(i));
  fastest_first(candidates, [&](int c) { return seconds[static_cast<std::size_t>(c)]; });
  return candidates;
}

TEST(Tune, TheFastestComesFirstAndTheOthersKeepTheirOrder) {
  EXPECT_EQ(ordered({4, 3, 1, 2}), (std::vector<int>{2, 0, 1, 3}));
  EXPECT_EQ(ordered({1, 2, 3}), (std::vector<int>{0, 1, 2}));
}

TEST(Tune, WhatIsRefusedIsStruckOff) {
  EXPECT_EQ(ordered({kRefused, 3, kRefused, 2}), (std::vector<int>{3, 1}));
  EXPECT_TRUE(ordered({kRefused, kRefused}).empty());
  EXPECT_TRUE(ordered({}).empty());
}

TEST(Tune, WhatIsEquallyFastStaysWhereTheHeuristicsPutIt) {
  EXPECT_EQ(ordered({1.0, 0.98, 0.99}), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ordered({1.0, 0.96, 0.95}), (std::vector<int>{1, 0, 2}));
}

}  // namespace
}  // namespace spn::kernels::cuda
