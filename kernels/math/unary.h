// Scalar functions with their derivatives, for host and device. Value and derivative side by side: gradient checks and
// PyTorch goldens hold them, since both backends share this file.
#pragma once

#include <cmath>

#include "engine/core/philox.h"  // SPN_HD
#include "kernels/args/elementwise.h"
#include "kernels/math/fast.h"

namespace spn::kernels {

inline constexpr double kInvSqrt2 = 0.70710678118654752440;
inline constexpr double kInvSqrt2Pi = 0.39894228040143267794;

// Exact GELU: x · Φ(x).
template <class T>
SPN_ALWAYS_INLINE T gelu(T x) {
  return T(0.5) * x * (T(1) + fast_erf(x * T(kInvSqrt2)));
}
// Φ(x) + x · φ(x).
template <class T>
SPN_ALWAYS_INLINE T gelu_derivative(T x) {
  return T(0.5) * (T(1) + fast_erf(x * T(kInvSqrt2))) + x * T(kInvSqrt2Pi) * fast_exp(T(-0.5) * x * x);
}

// Both for results in bf16, in a third of the instructions: |x| is kept where Φ(−|x|) is not 0 yet, by a choice that
// lets NaN through.
SPN_ALWAYS_INLINE float kept_magnitude(float x) {
  const float z = std::fabs(x);
  return z > 16.0F ? 16.0F : z;
}
// max(x, 0) − |x| · Φ(−|x|).
SPN_ALWAYS_INLINE float brief_gelu(float x) {
  const float z = kept_magnitude(x);
  return std::fmax(x, 0.0F) - z * brief_normal_tail(z);
}
// Φ(−|x|) − |x| · φ(x) below 0, and 1 less that above.
SPN_ALWAYS_INLINE float brief_gelu_derivative(float x) {
  constexpr float kHalfLog2E = 0.721347520F, kLog2Sqrt2Pi = 1.32574806F;
  const float z = kept_magnitude(x);
  const float d = brief_normal_tail(z) - z * brief_exp2(z * z * -kHalfLog2E - kLog2Sqrt2Pi);
  return x < 0.0F ? d : 1.0F - d;
}

template <UnaryOp op, class T>
SPN_ALWAYS_INLINE T unary_value(T x) {
  if constexpr (op == UnaryOp::neg)
    return -x;
  else if constexpr (op == UnaryOp::exp)
    return fast_exp(x);
  else if constexpr (op == UnaryOp::log)
    return std::log(x);
  else if constexpr (op == UnaryOp::sqrt)
    return std::sqrt(x);
  else if constexpr (op == UnaryOp::square)
    return x * x;
  else if constexpr (op == UnaryOp::relu)
    return x > T(0) ? x : T(0);
  else if constexpr (op == UnaryOp::gelu)
    return gelu(x);
  else if constexpr (op == UnaryOp::tanh)
    return std::tanh(x);
  else
    return T(1) / (T(1) + fast_exp(-x));
}

// f'(x), from x and y = f(x).
template <UnaryOp op, class T>
SPN_ALWAYS_INLINE T unary_derivative(T x, T y) {
  if constexpr (op == UnaryOp::neg)
    return T(-1);
  else if constexpr (op == UnaryOp::exp)
    return y;
  else if constexpr (op == UnaryOp::log)
    return T(1) / x;
  else if constexpr (op == UnaryOp::sqrt)
    return T(0.5) / y;
  else if constexpr (op == UnaryOp::square)
    return T(2) * x;
  else if constexpr (op == UnaryOp::relu)
    return y > T(0) ? T(1) : T(0);
  else if constexpr (op == UnaryOp::gelu)
    return gelu_derivative(x);
  else if constexpr (op == UnaryOp::tanh)
    return T(1) - y * y;
  else
    return y * (T(1) - y);
}

template <BinaryOp op, class T>
SPN_ALWAYS_INLINE T binary_value(T a, T b) {
  if constexpr (op == BinaryOp::add)
    return a + b;
  else if constexpr (op == BinaryOp::sub)
    return a - b;
  else if constexpr (op == BinaryOp::mul)
    return a * b;
  else if constexpr (op == BinaryOp::div)
    return a / b;
  else if constexpr (op == BinaryOp::max)
    return a > b ? a : b;
  else
    return a < b ? a : b;
}

// Calls f.template operator()<op>() for a runtime op.
template <class F>
void visit_unary(UnaryOp op, F&& f) {
  switch (op) {
    case UnaryOp::neg: return f.template operator()<UnaryOp::neg>();
    case UnaryOp::exp: return f.template operator()<UnaryOp::exp>();
    case UnaryOp::log: return f.template operator()<UnaryOp::log>();
    case UnaryOp::sqrt: return f.template operator()<UnaryOp::sqrt>();
    case UnaryOp::square: return f.template operator()<UnaryOp::square>();
    case UnaryOp::relu: return f.template operator()<UnaryOp::relu>();
    case UnaryOp::gelu: return f.template operator()<UnaryOp::gelu>();
    case UnaryOp::tanh: return f.template operator()<UnaryOp::tanh>();
    case UnaryOp::sigmoid: return f.template operator()<UnaryOp::sigmoid>();
  }
}

template <class F>
void visit_binary(BinaryOp op, F&& f) {
  switch (op) {
    case BinaryOp::add: return f.template operator()<BinaryOp::add>();
    case BinaryOp::sub: return f.template operator()<BinaryOp::sub>();
    case BinaryOp::mul: return f.template operator()<BinaryOp::mul>();
    case BinaryOp::div: return f.template operator()<BinaryOp::div>();
    case BinaryOp::max: return f.template operator()<BinaryOp::max>();
    case BinaryOp::min: return f.template operator()<BinaryOp::min>();
  }
}

}  // namespace spn::kernels
