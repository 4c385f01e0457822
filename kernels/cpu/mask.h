// Dropout factors for a range of one sample's elements, 16 Philox blocks (64 elements) at a time.
#pragma once

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/args/dropout.h"
#include "kernels/math/dropout.h"

namespace spn::kernels::cpu {

inline constexpr int kMaskBlocks = 16;

// out[lane + 4·b]: the words of blocks first … first + 15. Blocks are held in 64-bit lanes whose upper halves are never
// read, since the hardware's 32 x 32 -> 64 product is one instruction there.
#if defined(__AVX512F__) || defined(__AVX2__)
namespace detail {
#ifdef __AVX512F__
using Words = __m512i;
inline constexpr int kWordLanes = 8;
inline Words all(std::uint32_t v) { return _mm512_set1_epi64(v); }
inline Words product(Words a, Words b) { return _mm512_mul_epu32(a, b); }
inline Words upper(Words a) { return _mm512_srli_epi64(a, 32); }
inline Words xor3(Words a, Words b, Words c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
inline Words low_and_high(Words low, Words high) {  // low's lower halves, high's lower halves above them
  return _mm512_mask_blend_epi32(0xAAAA, low, _mm512_slli_epi64(high, 32));
}
// Lanes are ordered so that the two stores below come out in the order of blocks.
inline Words counters(std::uint32_t first) {
  return _mm512_add_epi64(all(first), _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0));
}
inline void store(std::uint32_t* out, Words a, Words b) {
  _mm512_storeu_si512(out, _mm512_unpacklo_epi64(a, b));
  _mm512_storeu_si512(out + 16, _mm512_unpackhi_epi64(a, b));
}
#else
using Words = __m256i;
inline constexpr int kWordLanes = 4;
inline Words all(std::uint32_t v) { return _mm256_set1_epi64x(v); }
inline Words product(Words a, Words b) { return _mm256_mul_epu32(a, b); }
inline Words upper(Words a) { return _mm256_srli_epi64(a, 32); }
inline Words xor3(Words a, Words b, Words c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
inline Words low_and_high(Words low, Words high) { return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xAA); }
inline Words counters(std::uint32_t first) { return _mm256_add_epi64(all(first), _mm256_set_epi64x(3, 1, 2, 0)); }
inline void store(std::uint32_t* out, Words a, Words b) {
  _mm256_storeu_si256(reinterpret_cast<Words*>(out), _mm256_unpacklo_epi64(a, b));
  _mm256_storeu_si256(reinterpret_cast<Words*>(out + 8), _mm256_unpackhi_epi64(a, b));
}
#endif
}  // namespace detail

inline void philox_blocks(std::uint64_t key, std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                          std::uint32_t* out) {
  using detail::all, detail::counters, detail::kWordLanes, detail::low_and_high, detail::product, detail::store,
      detail::upper, detail::Words, detail::xor3;
  constexpr int kVectors = kMaskBlocks / kWordLanes;
  const Words m0 = all(0xD2511F53u), m1 = all(0xCD9E8D57u);
  Words w0[kVectors], w1[kVectors], w2[kVectors], w3[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    w0[v] = counters(first + static_cast<std::uint32_t>(v * kWordLanes));
    w1[v] = all(c1);
    w2[v] = all(c2);
    w3[v] = all(c3);
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int r = 0; r < 10; ++r) {
    const Words key0 = all(k0), key1 = all(k1);
    for (int v = 0; v < kVectors; ++v) {
      const Words p0 = product(m0, w0[v]), p1 = product(m1, w2[v]);
      w0[v] = xor3(upper(p1), w1[v], key0);
      w2[v] = xor3(upper(p0), w3[v], key1);
      w1[v] = p1;
      w3[v] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int v = 0; v < kVectors; ++v)
    store(out + 4 * kWordLanes * v, low_and_high(w0[v], w1[v]), low_and_high(w2[v], w3[v]));
}
#else
inline void philox_blocks(std::uint64_t key, std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                          std::uint32_t* out) {
  for (std::uint32_t b = 0; b < kMaskBlocks; ++b) {
    const Philox4 r = philox(key, first + b, c1, c2, c3);
    for (std::uint32_t l = 0; l < 4; ++l) out[4 * b + l] = r.v[l];
  }
}
#endif

// out[i] = 0 or 1 / (1 − p) for element first + i of the (global) sample; out needs room for n only.
template <class C>
void dropout_factors(const DropoutKey& key, std::int64_t sample, std::int64_t first, std::int64_t n, C* out) {
  const std::uint32_t threshold = dropout_threshold(key.p), step = dropout_step_word(step_of(key));
  const C scale = static_cast<C>(1.0 / (1.0 - key.p));
  std::uint32_t words[4 * kMaskBlocks];
  for (std::int64_t e = first; e < first + n;) {
    const std::int64_t block = e / 4, skip = e % 4;
    philox_blocks(key.seed, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(sample), key.layer, step,
                  words);
    const std::int64_t take = std::min<std::int64_t>(4 * kMaskBlocks - skip, first + n - e);
    C* o = out + (e - first);
    const std::uint32_t* w = words + skip;
#pragma omp simd
    for (std::int64_t i = 0; i < take; ++i) o[i] = (w[i] >> 8) >= threshold ? scale : C(0);
    e += take;
  }
}

}  // namespace spn::kernels::cpu
