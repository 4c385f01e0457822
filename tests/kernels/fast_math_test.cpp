// exp and erf in float against libm in double, in units of the last place.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/math/fast.h"

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

TEST(FastMath, ExactPoints) {
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
  EXPECT_EQ(fast_exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(fast_exp(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(fast_erf(0.0F), 0.0F);
  EXPECT_EQ(fast_erf(std::numeric_limits<float>::infinity()), 1.0F);
  EXPECT_EQ(fast_erf(-std::numeric_limits<float>::infinity()), -1.0F);
}

}  // namespace
}  // namespace spn::kernels
