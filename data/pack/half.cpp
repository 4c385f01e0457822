#include "data/pack/half.h"

#include <bit>
#include <cmath>

#include "engine/core/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace spn::data {

std::uint16_t to_half(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)  // NaN: keep the top of its payload, quiet
    return static_cast<std::uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {
    // below 2^-14: a multiple of 2^-24; nearbyint rounds to even by default
    const float steps = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p24F);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(steps));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u;
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

float from_half(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, exponent = h >> 10 & 0x1fu,
                      mantissa = h & 0x3ffu;
  if (exponent == 0) {
    const float v = static_cast<float>(mantissa) * 0x1p-24F;
    return sign ? -v : v;
  }
  if (exponent == 31)  // NaN comes out quiet, as from F16C
    return std::bit_cast<float>(sign | 0x7f800000u | (mantissa ? 0x400000u | mantissa << 13 : 0u));
  return std::bit_cast<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
}

namespace {

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) void to_half_f16c(const float* in, std::uint16_t* out, std::size_t eights) {
  for (std::size_t i = 0; i < eights; ++i)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 8 * i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(in + 8 * i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

__attribute__((target("avx,f16c"))) void from_half_f16c(const std::uint16_t* in, float* out, std::size_t eights) {
  for (std::size_t i = 0; i < eights; ++i)
    _mm256_storeu_ps(out + 8 * i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 8 * i))));
}

bool has_f16c() {
  // every processor with AVX2 has F16C, a name that clang 14 does not know here
  static const bool yes = __builtin_cpu_supports("avx2");
  return yes;
}
#endif

}  // namespace

void to_half(std::span<const float> in, std::span<std::uint16_t> out) {
  check(in.size() == out.size(), "to_half", "expected equal sizes, got {} and {}", in.size(), out.size());
  std::size_t i = 0;
#if defined(__x86_64__)
  if (has_f16c()) {
    to_half_f16c(in.data(), out.data(), in.size() / 8);
    i = in.size() / 8 * 8;
  }
#endif
  for (; i < in.size(); ++i) out[i] = to_half(in[i]);
}

void from_half(std::span<const std::uint16_t> in, std::span<float> out) {
  check(in.size() == out.size(), "from_half", "expected equal sizes, got {} and {}", in.size(), out.size());
  std::size_t i = 0;
#if defined(__x86_64__)
  if (has_f16c()) {
    from_half_f16c(in.data(), out.data(), in.size() / 8);
    i = in.size() / 8 * 8;
  }
#endif
  for (; i < in.size(); ++i) out[i] = from_half(in[i]);
}

}  // namespace spn::data
