// Channels in the innermost dim, folded for vectors: `period` values (whole rows, a multiple of 16 of them) repeat the
// same channels, so that a loop over a period has no tail whatever the number of channels is.
#pragma once

#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "engine/core/dtype.h"

namespace spn::kernels::cpu {

struct Fold {
  std::int64_t channels, period, periods, rest;  // rest: values after the last whole period
  Fold(std::int64_t rows, std::int64_t c)
      : channels(c),
        period(c == 0 ? 0 : c * (16 / std::gcd(c, std::int64_t{16}))),
        periods(period == 0 ? 0 : rows * c / period),
        rest(period == 0 ? 0 : rows * c % period) {}
  // Per-channel values repeated over one period.
  template <class A>
  void repeat(std::vector<A>& v) const {
    v.resize(static_cast<std::size_t>(period));
    for (std::size_t i = static_cast<std::size_t>(channels); i < v.size(); ++i)
      v[i] = v[i - static_cast<std::size_t>(channels)];
  }
};

// GCC's and Clang's vectors: 8 values, whatever the machine's registers hold. Passed by reference only: their calling
// convention depends on -march.
using f32x8 = float __attribute__((vector_size(32)));
using f64x8 = double __attribute__((vector_size(64)));

// 8 sums in f64, as two vectors: one of 64 bytes lives in memory, and not in registers, where those have 32.
using f64x4 = double __attribute__((vector_size(32)));
struct Sums8 {
  f64x4 low, high;
};
inline void load8(const double* p, Sums8& s) { std::memcpy(&s, p, sizeof s); }
inline void store8(double* p, const Sums8& s) { std::memcpy(p, &s, sizeof s); }
inline void widen(const f32x8& v, Sums8& s) {
  s.low = __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), f64x4);
  s.high = __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), f64x4);
}
inline void widen(const f64x8& v, Sums8& s) { std::memcpy(&s, &v, sizeof s); }

inline void load8(const float* p, f32x8& v) { std::memcpy(&v, p, sizeof v); }
inline void load8(const double* p, f64x8& v) { std::memcpy(&v, p, sizeof v); }
inline void load8(const bf16* p, f32x8& v) {
  using u16x8 = std::uint16_t __attribute__((vector_size(16)));
  using u32x8 = std::uint32_t __attribute__((vector_size(32)));
  u16x8 h;
  std::memcpy(&h, p, sizeof h);
  const u32x8 w = __builtin_convertvector(h, u32x8) << 16;
  std::memcpy(&v, &w, sizeof v);
}
inline void store8(float* p, const f32x8& v) { std::memcpy(p, &v, sizeof v); }
inline void store8(double* p, const f64x8& v) { std::memcpy(p, &v, sizeof v); }
inline void store8(bf16* p, const f32x8& v) {
  using u16x8 = std::uint16_t __attribute__((vector_size(16)));
  using u32x8 = std::uint32_t __attribute__((vector_size(32)));
  u32x8 u;
  std::memcpy(&u, &v, sizeof u);
  const u32x8 even = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (u >> 16) | 0x40u;  // as bf16(float)
  const u16x8 h = __builtin_convertvector((u & 0x7fffffffu) > 0x7f800000u ? nan : even, u16x8);
  std::memcpy(static_cast<void*>(p), &h, sizeof h);
}

// What a kernel computes in: f32 for f32 and bf16, f64 for f64.
template <class T>
struct Lanes {
  using scalar = float;
  using vec = f32x8;
};
template <>
struct Lanes<double> {
  using scalar = double;
  using vec = f64x8;
};

}  // namespace spn::kernels::cpu
