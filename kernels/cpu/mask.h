// Dropout factors for a range of one sample's elements, 16 Philox blocks (64 elements) at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/args/dropout.h"
#include "kernels/math/dropout.h"

namespace spn::kernels::cpu {

inline constexpr int kMaskBlocks = 16;

// out[lane + 4·b]: the words of blocks first … first + 15.
inline void philox_blocks(std::uint64_t key, std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                          std::uint32_t* out) {
  std::uint32_t w0[kMaskBlocks], w1[kMaskBlocks], w2[kMaskBlocks], w3[kMaskBlocks];
  for (int i = 0; i < kMaskBlocks; ++i) {
    w0[i] = first + static_cast<std::uint32_t>(i);
    w1[i] = c1;
    w2[i] = c2;
    w3[i] = c3;
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int r = 0; r < 10; ++r) {
#pragma omp simd
    for (int i = 0; i < kMaskBlocks; ++i) {
      const std::uint64_t p0 = 0xD2511F53ull * w0[i], p1 = 0xCD9E8D57ull * w2[i];
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ w1[i] ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ w3[i] ^ k1;
      w1[i] = static_cast<std::uint32_t>(p1);
      w3[i] = static_cast<std::uint32_t>(p0);
      w0[i] = n0;
      w2[i] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < kMaskBlocks; ++i) {
    out[4 * i] = w0[i];
    out[4 * i + 1] = w1[i];
    out[4 * i + 2] = w2[i];
    out[4 * i + 3] = w3[i];
  }
}

// out[i] = 0 or 1 / (1 − p) for element first + i of the (global) sample; out needs room for n only.
template <class C>
void dropout_factors(const DropoutKey& key, std::int64_t sample, std::int64_t first, std::int64_t n, C* out) {
  const std::uint32_t threshold = dropout_threshold(key.p), step = dropout_step_word(key.step);
  const C scale = static_cast<C>(1.0 / (1.0 - key.p));
  std::uint32_t words[4 * kMaskBlocks];
  for (std::int64_t e = first; e < first + n;) {
    const std::int64_t block = e / 4, skip = e % 4;
    philox_blocks(key.seed, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(sample), key.layer, step,
                  words);
    const std::int64_t take = std::min<std::int64_t>(4 * kMaskBlocks - skip, first + n - e);
    C* o = out + (e - first);
#pragma omp simd
    for (std::int64_t i = 0; i < take; ++i) o[i] = (words[skip + i] >> 8) >= threshold ? scale : C(0);
    e += take;
  }
}

}  // namespace spn::kernels::cpu
