// exp and erf in float against libm in double, in units of the last place.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/math/unary.h"

namespace spn::kernels {
namespace {

double ulps(float got, double want) {
  const float w = std::abs(static_cast<float>(want));
  if (std::isinf(w)) return std::isinf(got) && (got > 0) == (want > 0) ? 0 : 1e9;
  const double unit = std::max(static_cast<double>(std::nextafter(w, INFINITY)) - w, 1.401298464324817e-45);
  return std::abs(got - want) / unit;
}

// Every 4099th float (a prime, so that mantissas vary): about a million, all magnitudes and both signs.
template <class F>
void sweep(F&& f) {
  for (std::uint64_t u = 0; u <= 0xffffffffULL; u += 4099) f(std::bit_cast<float>(static_cast<std::uint32_t>(u)));
}

TEST(FastMath, ExpIsWithin1p2Ulp) {
  double worst = 0;
  float at = 0;
  sweep([&](float x) {
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(fast_exp(x)));
      return;
    }
    const double e = ulps(fast_exp(x), std::exp(static_cast<double>(x)));
    if (!(e <= worst)) worst = e, at = x;
  });
  EXPECT_LE(worst, 1.2) << "at " << at;
}

TEST(FastMath, ErfIsWithin1p3Ulp) {
  double worst = 0;
  float at = 0;
  sweep([&](float x) {
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(fast_erf(x)));
      return;
    }
    const double e = ulps(fast_erf(x), std::erf(static_cast<double>(x)));
    if (!(e <= worst)) worst = e, at = x;
  });
  EXPECT_LE(worst, 1.3) << "at " << at;
}

// What a GPU makes of GELU for results in bf16: far below their rounding, 2^-8, in the tail too. The gradient by its
// terms, since it has a root.
TEST(FastMath, BriefGeluIsWithin2PowMinus15) {
  double worst = 0, worst_slope = 0;
  for (int i = -650000; i <= 650000; ++i) {
    const float x = static_cast<float>(i) * 1e-5F;
    const long double v = x, below = std::erfc(-v / std::sqrt(2.0L)) / 2,
                      bell = v * std::exp(-v * v / 2) / std::sqrt(2 * std::acos(-1.0L));
    if (i != 0) worst = std::max(worst, static_cast<double>(std::abs((brief_gelu(x) - v * below) / (v * below))));
    worst_slope =
        std::max(worst_slope,
                 static_cast<double>(std::abs((brief_gelu_derivative(x) - below - bell) / (below + std::abs(bell)))));
  }
  EXPECT_LE(worst, 0x1p-15);
  EXPECT_LE(worst_slope, 0x1p-15);
  for (const float x : {6.5F, 8.0F, 16.0F, 1e30F}) {
    EXPECT_LE(std::abs(brief_gelu(-x)), 6.5 * 0x1p-34);
    EXPECT_EQ(brief_gelu(x), x);
    EXPECT_EQ(brief_gelu_derivative(x), 1.0F);
  }
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(brief_gelu(inf), inf);
  EXPECT_EQ(brief_gelu(-inf), 0.0F);
  EXPECT_EQ(brief_gelu_derivative(-inf), 0.0F);
  EXPECT_TRUE(std::isnan(brief_gelu(nan)) && std::isnan(brief_gelu_derivative(nan)));
}

TEST(FastMath, ExactPoints) {
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
  EXPECT_EQ(fast_exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(fast_exp(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(fast_erf(0.0F), 0.0F);
  EXPECT_EQ(fast_erf(std::numeric_limits<float>::infinity()), 1.0F);
  EXPECT_EQ(fast_erf(-std::numeric_limits<float>::infinity()), -1.0F);
}

TEST(FastMath, BriefExp2FlushesAsAGpuDoes) {
  EXPECT_EQ(brief_exp2(3), 8.0F);
  EXPECT_EQ(brief_exp2(-126), 0x1p-126F);
  EXPECT_EQ(brief_exp2(-127), 0.0F);
  EXPECT_EQ(brief_exp2(-INFINITY), 0.0F);
  EXPECT_TRUE(std::isnan(brief_exp2(NAN)));
}

}  // namespace
}  // namespace spn::kernels
