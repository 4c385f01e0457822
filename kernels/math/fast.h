// exp and erf in float that compilers vectorise (libm's are calls), for host and device; double uses libm. Errors,
// held to by tests/kernels/fast_math_test.cpp: exp 1.2 ulp, erf 1.3 ulp. And what a GPU's results in bf16 need instead.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/core/philox.h"  // SPN_HD

// Vector loops keep a call out of the loop body: whatever they use must be inlined.
#define SPN_ALWAYS_INLINE [[gnu::always_inline]] SPN_HD inline

namespace spn::kernels {

namespace detail {
SPN_ALWAYS_INLINE float float_of(std::uint32_t u) {
  float f;
  std::memcpy(&f, &u, sizeof f);
  return f;
}
SPN_ALWAYS_INLINE std::uint32_t bits_of(float f) {
  std::uint32_t u;
  std::memcpy(&u, &f, sizeof u);
  return u;
}
}  // namespace detail

// e^x: x = n·ln 2 + r, |r| ≤ ln 2 / 2, a polynomial for e^r, and 2^n in two factors, so that overflow gives inf and
// tiny results go through the denormals to 0. NaN stays NaN.
SPN_ALWAYS_INLINE float fast_exp(float x) {
  x = x > 89.0F ? 89.0F : x;
  x = x < -104.0F ? -104.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F;  // 1.5 · 2^23: rounds to an integer in the low bits
  const float n = shifted - 12582912.0F;
  const auto i = static_cast<std::int32_t>(detail::bits_of(shifted) - 0x4B400000u);
  float r = x - n * 0.693145752F;  // ln 2, upper bits: the product is exact
  r = r - n * 1.42860677e-6F;      // and the rest
  float p = 1.37805939e-3F;
  p = p * r + 8.37312452e-3F;
  p = p * r + 4.16695364e-2F;
  p = p * r + 1.66664720e-1F;
  p = p * r + 4.99999851e-1F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::int32_t half = i >> 1;
  const float a = detail::float_of(static_cast<std::uint32_t>(half + 127) << 23);
  const float b = detail::float_of(static_cast<std::uint32_t>(i - half + 127) << 23);
  return p * a * b;
}
SPN_ALWAYS_INLINE double fast_exp(double x) { return std::exp(x); }

// Two polynomials: x · P(x²) near 0, and 1 − e^Q(|x|) beyond. Both are evaluated, so that the choice is a select.
SPN_ALWAYS_INLINE float fast_erf(float x) {
  const float t = x < 0.0F ? -x : x, s = x * x;
  float q = -1.72853470e-5F * t + 3.83197126e-4F;
  const float u = -3.88396438e-3F * t + 2.42546219e-2F;
  q = q * s + u;
  q = q * t + -1.06777877e-1F;
  q = q * t + -6.34846687e-1F;
  q = q * t + -1.28717512e-1F;
  q = q * t - t;
  // From |x| = 4 on the result is 1: keep q where the polynomial holds.
  q = t > 4.0F ? -104.0F : q;
  const float far = 1.0F - fast_exp(q);
  float p = -5.96761703e-4F;
  p = p * s + 4.99119423e-3F;
  p = p * s + -2.67681349e-2F;
  p = p * s + 1.12819925e-1F;
  p = p * s + -3.76125336e-1F;
  p = p * s + 1.28379166e-1F;
  const float near = p * x + x;
  const float signed_far = x < 0.0F ? -far : far;
  return t > 0.927734375F ? signed_far : near;
}
SPN_ALWAYS_INLINE double fast_erf(double x) { return std::erf(x); }

inline constexpr double kLog2e = 1.4426950408889634;  // log2(e)

// 2^v to 2 units in the last place, 0 below 2^-126: one instruction of a GPU.
SPN_ALWAYS_INLINE float brief_exp2(float v) {
#ifdef __CUDA_ARCH__
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#else
  const float r = std::exp2(v);
  return r < 0x1p-126F ? 0.0F : r;
#endif
}

// Φ(−z) = erfc(z/√2) / 2 of z ≥ 0: relative error 2^-16 up to 6.5, where 2^-34 is left; from 16 on the result is 0.
// As 2^Q(z), Q fitted to log2 Φ(−z): the tail keeps its digits, where 1 + erf would cancel.
SPN_ALWAYS_INLINE float brief_normal_tail(float z) {
  float q = -1.75777677e-6F;
  q = q * z + 5.99365849e-5F;
  q = q * z + -9.16362915e-4F;
  q = q * z + 8.44738539e-3F;
  q = q * z + -5.38244992e-2F;
  q = q * z + -4.5861572e-1F;
  q = q * z + -1.15118015F;
  q = q * z + -1.00000381F;
  return brief_exp2(q);
}

}  // namespace spn::kernels
