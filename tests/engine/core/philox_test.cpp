// Philox against the known answers of Random123's kat_vectors, and the host stream's uniformity.
#include "engine/core/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace spn {
namespace {

TEST(Philox, KnownAnswers) {
  const Philox4 zero = philox(0, 0, 0, 0, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const Philox4 pi = philox(0x299f31d0a4093822ull, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u);
  EXPECT_EQ(pi.v[0], 0xd16cfe09u);
  EXPECT_EQ(pi.v[1], 0x94fdccebu);
  EXPECT_EQ(pi.v[2], 0x5001e420u);
  EXPECT_EQ(pi.v[3], 0x24126ea1u);
}

TEST(PhiloxStream, NormalHasUnitVariance) {
  PhiloxStream stream(7, RandomUse::test);
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_LT(std::abs(sum / n), 0.02);
  EXPECT_LT(std::abs(squares / n - 1), 0.02);
}

TEST(PhiloxStream, BelowStaysInRangeAndReachesAll) {
  PhiloxStream stream(1, RandomUse::test, 3);
  int seen[7] = {};
  for (int i = 0; i < 7000; ++i) ++seen[stream.below(7)];
  for (int count : seen) EXPECT_GT(count, 800);
}

}  // namespace
}  // namespace spn
