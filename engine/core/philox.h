// Philox4x32-10 (Salmon et al., SC 2011): a counter-based generator. The only source of randomness here:
// a value depends on its key and counter alone, never on rank, thread or device.
#pragma once

#include <array>
#include <cstdint>

#ifdef __CUDACC__
#define SPN_HD __host__ __device__
#else
#define SPN_HD
#endif

namespace spn {

struct Philox4 {
  std::uint32_t v[4];
};

// 128 bits from a 64-bit key and a 128-bit counter (c0 least significant).
SPN_HD inline Philox4 philox(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                             std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int r = 0; r < 10; ++r) {
    const std::uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1) with 24 bits.
SPN_HD inline float uniform01(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// What each consumer of randomness mixes into its counter, so that no two streams coincide.
enum class RandomUse : std::uint32_t { init = 1, dropout = 2, shuffle = 3, augment = 4, synth = 5, test = 6 };

// A host-side sequence for shuffles, initialisers and synthetic data: draws from one (seed, use, stream).
class PhiloxStream {
 public:
  PhiloxStream(std::uint64_t seed, RandomUse use, std::uint64_t stream = 0)
      : seed_(seed), use_(static_cast<std::uint32_t>(use)), stream_(stream) {}
  std::uint32_t next_u32() {
    if (have_ == 0) {
      // counter: 32 bits of block number, 64 bits of stream with the use folded into its top word
      block_ =
          philox(seed_, count_++, static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32), use_);
      have_ = 4;
    }
    return block_.v[4 - have_--];
  }
  std::uint64_t next_u64() {
    const std::uint64_t hi = next_u32();
    return hi << 32 | next_u32();
  }
  // Uniform in [0, 1).
  float uniform() { return uniform01(next_u32()); }
  double uniform_double() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }
  // As if `blocks` times 128 bits had been drawn, from a fresh stream on: threads share out one sequence.
  PhiloxStream& skip_blocks(std::uint32_t blocks) {
    count_ += blocks;
    return *this;
  }
  // Standard normal (Box-Muller); never beyond 8.6: sqrt(2 ln 2^53) = 8.57. Takes 128 bits.
  double normal();
  // Uniform integer in [0, n), without modulo bias (Lemire 2019). n > 0.
  std::uint64_t below(std::uint64_t n);

 private:
  std::uint64_t seed_;
  std::uint32_t use_;
  std::uint64_t stream_;
  std::uint32_t count_ = 0;
  Philox4 block_{};
  int have_ = 0;
};

}  // namespace spn
