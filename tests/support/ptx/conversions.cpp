// cvt (PTX ISA: data movement and conversion instructions). Values beyond an integer's range become its ends.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/support/ptx/decode.h"
#include "tests/support/ptx/thread.h"

namespace spn::ptx {
namespace {

enum class Rounding { none, nearest, zero, down, up };

template <Rounding rounding, class T>
T rounded(T v) {
  if constexpr (rounding == Rounding::nearest) return std::nearbyint(v);
  if constexpr (rounding == Rounding::zero) return std::trunc(v);
  if constexpr (rounding == Rounding::down) return std::floor(v);
  if constexpr (rounding == Rounding::up) return std::ceil(v);
  return v;
}

template <class To, class From>
To within_range(From v) {
  if constexpr (std::is_floating_point_v<From>) {
    const auto least = static_cast<From>(std::numeric_limits<To>::min());
    const auto most = static_cast<From>(std::numeric_limits<To>::max());
    return v <= least  ? std::numeric_limits<To>::min()
           : v >= most ? std::numeric_limits<To>::max()
                       : static_cast<To>(v);
  } else {
    if (std::cmp_less(v, std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    if (std::cmp_greater(v, std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return static_cast<To>(v);
  }
}

// A register may be wider than the type: integers with a sign are extended into it.
template <class T>
void put_extended(Thread& t, const Instruction& i, T v) {
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>)
    t.registers[i.to[0]] = static_cast<u64>(static_cast<s64>(v));
  else
    put<T>(t, i, v);
}

// NaN: 0, but the highest bit alone where either side has 64 bits.
template <class To, class From, Rounding rounding>
void to_integer(Thread& t, const Instruction& i) {
  const From v = value<From>(t, i.from[0]);
  if (std::isnan(v)) {
    constexpr bool wide = sizeof(From) == 8 || sizeof(To) == 8;
    return put_extended<To>(t, i, wide ? static_cast<To>(u64{1} << (sizeof(To) * 8 - 1)) : To{0});
  }
  put_extended<To>(t, i, within_range<To>(rounded<rounding>(static_cast<double>(v))));
}
template <class To, class From, Rounding rounding>
void to_float(Thread& t, const Instruction& i) {
  put<To>(t, i, rounded<rounding>(static_cast<To>(value<From>(t, i.from[0]))));
}
// .sat of floats: from 0 to 1, a NaN is 0.
template <class To, class From>
void to_unit_interval(Thread& t, const Instruction& i) {
  const To v = static_cast<To>(value<From>(t, i.from[0]));
  put<To>(t, i, v > To{0} ? std::min(v, To{1}) : To{0});
}
template <class To, class From, bool saturate>
void between_integers(Thread& t, const Instruction& i) {
  const From v = value<From>(t, i.from[0]);
  put_extended<To>(t, i, saturate ? within_range<To>(v) : static_cast<To>(v));
}

template <class To, class From>
Operation from_float(const Opcode& op) {
  if constexpr (std::is_integral_v<To>) {
    if (op.has("rni")) return to_integer<To, From, Rounding::nearest>;
    if (op.has("rzi")) return to_integer<To, From, Rounding::zero>;
    if (op.has("rmi")) return to_integer<To, From, Rounding::down>;
    return op.has("rpi") ? to_integer<To, From, Rounding::up> : nullptr;
  } else {
    if (op.has("sat")) return to_unit_interval<To, From>;
    if (op.has("rni")) return to_float<To, From, Rounding::nearest>;
    if (op.has("rzi")) return to_float<To, From, Rounding::zero>;
    if (op.has("rmi")) return to_float<To, From, Rounding::down>;
    return op.has("rpi") ? to_float<To, From, Rounding::up> : to_float<To, From, Rounding::none>;
  }
}
template <class To, class From>
Operation between(const Opcode& op) {
  if constexpr (std::is_floating_point_v<From>)
    return from_float<To, From>(op);
  else if constexpr (std::is_floating_point_v<To>)
    return op.has("sat") ? nullptr : Operation(to_float<To, From, Rounding::none>);
  else
    return op.has("sat") ? between_integers<To, From, true> : between_integers<To, From, false>;
}

u32 bf16_of(float v) {
  if (std::isnan(v)) return 0x7fff;
  const auto bits = static_cast<u32>(to_bits(v));
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16 & 0xffff;
}
void to_bf16(Thread& t, const Instruction& i) { put<u32>(t, i, bf16_of(value<float>(t, i.from[0]))); }
void to_bf16_pair(Thread& t, const Instruction& i) {  // the first becomes the high half
  put<u32>(t, i, bf16_of(value<float>(t, i.from[0])) << 16 | bf16_of(value<float>(t, i.from[1])));
}
void from_bf16(Thread& t, const Instruction& i) { put<u32>(t, i, u32{value<u16>(t, i.from[0])} << 16); }

}  // namespace

Operation conversion(const Opcode& op) {
  if (op.modifiers.size() < 2) return nullptr;
  const std::string &from = op.type(), &to = op.modifiers[op.modifiers.size() - 2];
  if (!op.only({"rn", "rni", "rzi", "rmi", "rpi", "sat", to})) return nullptr;
  if (from == "f32" && to == "bf16x2") return to_bf16_pair;
  if (from == "f32" && to == "bf16") return to_bf16;
  if (from == "bf16" && to == "f32") return from_bf16;
  return choose<u8, s8, u16, s16, u32, s32, u64, s64, float, double>(to, [&]<class To>() -> Operation {
    return choose<u8, s8, u16, s16, u32, s32, u64, s64, float, double>(
        from, [&]<class From>() -> Operation { return between<To, From>(op); });
  });
}

}  // namespace spn::ptx
