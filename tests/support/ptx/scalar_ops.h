// Arithmetic of one thread (PTX ISA: integer, floating point, comparison and selection, logic and shift instructions).
// Integers wrap around.
#pragma once

#include <bit>
#include <cfenv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/support/ptx/thread.h"

namespace spn::ptx {

// Where arithmetic on T neither overflows nor is promoted to a signed type.
template <class T>
struct ModularType {
  using type = std::conditional_t<(sizeof(T) < 8), u32, u64>;
};
template <>
struct ModularType<float> {
  using type = float;
};
template <>
struct ModularType<double> {
  using type = double;
};
template <class T>
typename ModularType<T>::type modular(T v) {
  return static_cast<typename ModularType<T>::type>(v);
}

template <class T, class F>
void unary(Thread& t, const Instruction& i) {
  put<T>(t, i, static_cast<T>(F{}(value<T>(t, i.from[0]))));
}
template <class T, class F>
void binary(Thread& t, const Instruction& i) {
  put<T>(t, i, static_cast<T>(F{}(value<T>(t, i.from[0]), value<T>(t, i.from[1]))));
}
template <class T, class F>
void ternary(Thread& t, const Instruction& i) {
  put<T>(t, i, static_cast<T>(F{}(value<T>(t, i.from[0]), value<T>(t, i.from[1]), value<T>(t, i.from[2]))));
}

struct Add {
  auto operator()(auto a, auto b) const { return modular(a) + modular(b); }
};
struct Subtract {
  auto operator()(auto a, auto b) const { return modular(a) - modular(b); }
};
struct Multiply {
  auto operator()(auto a, auto b) const { return modular(a) * modular(b); }
};
struct MultiplyAdd {
  auto operator()(auto a, auto b, auto c) const { return modular(a) * modular(b) + modular(c); }
};
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    __extension__ using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b) >> (sizeof(T) * 8));
  }
};
struct MultiplyHighAdd {
  template <class T>
  auto operator()(T a, T b, T c) const {
    return modular(MultiplyHigh{}(a, b)) + modular(c);
  }
};
// By zero: unspecified for integers; all ones, as devices do.
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return static_cast<T>(-1);
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(modular(T{0}) - modular(a));
    }
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
// A NaN gives way to the other; -0 is less than +0.
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a)) return b;
      if (a == b) return std::signbit(a) ? a : b;
      return a > b ? b : a;
    } else {
      return a < b ? a : b;
    }
  }
};
struct Largest {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a)) return b;
      if (a == b) return std::signbit(a) ? b : a;
      return a < b ? b : a;
    } else {
      return a > b ? a : b;
    }
  }
};
struct And {
  auto operator()(auto a, auto b) const { return a & b; }
};
struct Or {
  auto operator()(auto a, auto b) const { return a | b; }
};
struct ExclusiveOr {
  auto operator()(auto a, auto b) const { return a ^ b; }
};
struct Not {
  auto operator()(auto a) const { return ~a; }
};
struct Same {
  auto operator()(auto a) const { return a; }
};
// Byte n of the result: the one of b:a that digit n of c names, or with its top bit that one's sign alone.
struct PermuteBytes {
  u32 operator()(u32 a, u32 b, u32 c) const {
    const u64 bytes = u64{b} << 32 | a;
    u32 r = 0;
    for (int n = 0; n < 4; ++n) {
      const u32 digit = c >> 4 * n, byte = static_cast<u32>(bytes >> 8 * (digit & 7)) & 0xff;
      r |= ((digit & 8) == 0 ? byte : (byte & 0x80) != 0 ? 0xff : 0) << 8 * n;
    }
    return r;
  }
};
struct Negative {
  template <class T>
  auto operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return -a;
    else
      return modular(T{0}) - modular(a);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(a);
    else
      return a < 0 ? static_cast<T>(Negative{}(a)) : a;
  }
};
struct SquareRoot {
  auto operator()(auto a) const { return std::sqrt(a); }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
struct FusedMultiplyAdd {
  auto operator()(auto a, auto b, auto c) const { return std::fma(a, b, c); }
};
// The rounding mode is one the compiler does not know about.
struct FusedMultiplyAddDown {
  template <class T>
  T operator()(T a, T b, T c) const {
    const int before = std::fegetround();
    std::fesetround(FE_DOWNWARD);
    const volatile T va = a, vb = b, vc = c;
    const volatile T r = std::fma(T{va}, T{vb}, T{vc});
    std::fesetround(before);
    return r;
  }
};
// The sign of a, the rest of b.
struct CopySign {
  auto operator()(auto a, auto b) const { return std::copysign(b, a); }
};
inline float without_subnormals(float v) {
  return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0F, v) : v;
}
template <class F>
struct FlushToZero {
  float operator()(float a) const { return without_subnormals(F{}(without_subnormals(a))); }
};
struct PowerOfTwo {
  float operator()(float a) const { return std::exp2(a); }
};
struct LogarithmOfTwo {
  float operator()(float a) const { return std::log2(a); }
};
// rcp.approx.ftz.f64: the high half of the result, the low half is zero.
struct ReciprocalHigh {
  double operator()(double a) const { return from_bits<double>(to_bits(1.0 / a) & ~u64{0xffffffff}); }
};

// Amounts beyond the width are the width.
template <class T>
void shift_left(Thread& t, const Instruction& i) {
  const u32 by = value<u32>(t, i.from[1]);
  put<T>(t, i, by >= sizeof(T) * 8 ? T{0} : static_cast<T>(modular(value<T>(t, i.from[0])) << by));
}
template <class T>
void shift_right(Thread& t, const Instruction& i) {
  const u32 by = value<u32>(t, i.from[1]), most = sizeof(T) * 8 - 1;
  const T v = value<T>(t, i.from[0]);
  if (std::is_unsigned_v<T> && by > most)
    put<T>(t, i, 0);
  else
    put<T>(t, i, static_cast<T>(v >> (by > most ? most : by)));
}
template <class T, class Wide, bool add>
void multiply_wide(Thread& t, const Instruction& i) {
  Wide r = static_cast<Wide>(static_cast<Wide>(value<T>(t, i.from[0])) * static_cast<Wide>(value<T>(t, i.from[1])));
  if constexpr (add) r = static_cast<Wide>(modular(r) + modular(value<Wide>(t, i.from[2])));
  put<Wide>(t, i, r);
}
template <class T>
void count_ones(Thread& t, const Instruction& i) {
  put<u32>(t, i, static_cast<u32>(std::popcount(value<T>(t, i.from[0]))));
}
template <class T>
void count_leading_zeros(Thread& t, const Instruction& i) {
  put<u32>(t, i, static_cast<u32>(std::countl_zero(value<T>(t, i.from[0]))));
}
// bfi: from[0] into from[1] at bit from[2], from[3] bits of it.
template <class T>
void insert_bits(Thread& t, const Instruction& i) {
  const T field = value<T>(t, i.from[0]), into = value<T>(t, i.from[1]);
  const u32 at = value<u32>(t, i.from[2]) & 255, length = value<u32>(t, i.from[3]) & 255, width = sizeof(T) * 8;
  if (length == 0 || at >= width) return put<T>(t, i, into);
  const T ones = length >= width ? ~T{0} : static_cast<T>((T{1} << length) - 1);
  put<T>(t, i, static_cast<T>((into & ~(ones << at)) | (field & ones) << at));
}
template <class T>
void select(Thread& t, const Instruction& i) {
  put<T>(t, i, value<T>(t, i.from[(t.registers[i.from[2]] & 1) != 0 ? 0 : 1]));
}

// With a carry in, out, or both; subtract: it is a borrow.
template <class T, bool in, bool out, bool subtract>
void add_with_carry(Thread& t, const Instruction& i) {
  const T a = value<T>(t, i.from[0]), b = value<T>(t, i.from[1]), carry = in && t.carry ? 1 : 0;
  const T r = static_cast<T>(subtract ? a - b - carry : a + b + carry);
  if (out) t.carry = subtract ? a < b || (carry != 0 && a == b) : r < a || (carry != 0 && r == a);
  put<T>(t, i, r);
}
template <class T, bool high, bool in, bool out>
void multiply_add_with_carry(Thread& t, const Instruction& i) {
  const T a = value<T>(t, i.from[0]), b = value<T>(t, i.from[1]), c = value<T>(t, i.from[2]);
  const T product = high ? MultiplyHigh{}(a, b) : static_cast<T>(a * b), carry = in && t.carry ? 1 : 0;
  const T r = static_cast<T>(product + c + carry);
  if (out) t.carry = r < product || (carry != 0 && r == product);
  put<T>(t, i, r);
}

// Predicates: the lowest bit.
inline void put_predicate(Thread& t, const Instruction& i, u64 v) { t.registers[i.to[0]] = v & 1; }
template <class F>
void of_predicates(Thread& t, const Instruction& i) {
  put_predicate(t, i, F{}(t.registers[i.from[0]], t.registers[i.from[1]]));
}
template <class F>
void of_predicate(Thread& t, const Instruction& i) {
  put_predicate(t, i, F{}(t.registers[i.from[0]]));
}
template <class T>
bool unordered(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) || std::isnan(b);
  else
    return false;
}
// or_nan: what the comparison says where one is a NaN.
template <class T, class F, bool or_nan>
void compare(Thread& t, const Instruction& i) {
  const T a = value<T>(t, i.from[0]), b = value<T>(t, i.from[1]);
  put_predicate(t, i, unordered(a, b) ? or_nan : F{}(a, b));
}

}  // namespace spn::ptx
