// Which block a tensor gets on a GPU: reuse, what a captured step may take, and what happens when there is no memory.
#include "kernels/cuda/memory_pools.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "engine/core/out_of_memory.h"

namespace spn::kernels::cuda {
namespace {

// A device of `limit` bytes.
struct FakeDevice {
  explicit FakeDevice(std::size_t bytes, bool plain_pools = false) : limit(bytes), plain(plain_pools) {}
  std::size_t limit, used = 0;
  bool plain;
  int given_back = 0;
  std::map<void*, std::size_t> live;
  Pools pools{{.take = [this](std::size_t n) -> void* {
                 if (used + n > limit) return nullptr;
                 void* p = std::aligned_alloc(512, (n + 511) / 512 * 512);
                 live[p] = n;
                 used += n;
                 return p;
               },
               .give =
                   [this](void* p) {
                     used -= live.at(p);
                     live.erase(p);
                     ++given_back;
                     std::free(p);
                   },
               .others = [this] { return fmt::format("{} bytes are free", limit - used); }},
              plain};
  ~FakeDevice() {
    for (auto& [p, n] : live) std::free(p);
  }
};

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(Pools, AFreedBlockIsHandedOutAgain) {
  FakeDevice d(64 * kMiB);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{700}, 3 * kMiB}) {
    void* a = d.pools.take(bytes);
    void* b = d.pools.take(bytes);
    EXPECT_NE(a, b);
    d.pools.give(a);
    EXPECT_EQ(d.pools.take(bytes), a);
  }
}

TEST(Pools, SmallBlocksAreAlignedAndApart) {
  FakeDevice d(64 * kMiB);
  std::set<std::byte*> starts;
  for (int i = 0; i < 1000; ++i) {
    auto* p = static_cast<std::byte*>(d.pools.take(600));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 512, 0U);
    const auto next = starts.lower_bound(p);
    EXPECT_TRUE(next == starts.end() || *next - p >= 600);
    EXPECT_TRUE(next == starts.begin() || p - *std::prev(next) >= 600);
    starts.insert(p);
  }
  EXPECT_EQ(d.live.size(), 1U);  // one slab
}

TEST(Pools, WhatIsCachedIsGivenBackBeforeGivingUp) {
  FakeDevice d(10 * kMiB);
  d.pools.give(d.pools.take(6 * kMiB));
  EXPECT_NE(d.pools.take(8 * kMiB), nullptr);
  EXPECT_EQ(d.given_back, 1);
  try {
    d.pools.take(4 * kMiB);
    FAIL() << "expected a throw";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("cannot allocate 4.0 MiB"), std::string::npos) << text;  // what was asked
    EXPECT_NE(text.find("8.0 MiB of the 8.0 MiB"), std::string::npos) << text;   // what holds the rest
    EXPECT_NE(text.find(fmt::format("{} bytes are free", 2 * kMiB)), std::string::npos) << text;
    EXPECT_NE(text.find("--micro-batch"), std::string::npos) << text;
  }
}

TEST(Pools, MemoryOfACapturedStepGoesToNobodyElse) {
  FakeDevice d(64 * kMiB);
  void* before = d.pools.take(2 * kMiB);
  void* cached = d.pools.take(2 * kMiB);
  d.pools.give(cached);
  d.pools.begin_pool();
  void* inside = d.pools.take(2 * kMiB);
  EXPECT_NE(inside, cached);  // the common pool's block may be another tensor's at replay
  d.pools.give(inside);
  EXPECT_EQ(d.pools.take(2 * kMiB), inside);  // but within the step memory is used again
  d.pools.give(before);                       // a gradient of the step before
  const int pool = d.pools.end_pool();
  EXPECT_NE(pool, 0);
  d.pools.give(inside);  // a tensor that outlived the capture
  std::set<void*> later;
  for (int i = 0; i < 4; ++i) later.insert(d.pools.take(2 * kMiB));
  EXPECT_EQ(later.count(inside), 0U);
  EXPECT_EQ(later.count(before), 1U);
  d.pools.drop_pool(pool);
  EXPECT_EQ(d.pools.take(2 * kMiB), inside);
}

TEST(Pools, NothingIsGivenBackWhileAStepIsCaptured) {
  FakeDevice d(10 * kMiB);
  d.pools.give(d.pools.take(6 * kMiB));
  d.pools.begin_pool();
  d.pools.give(d.pools.take(3 * kMiB));
  try {
    d.pools.take(8 * kMiB);
    FAIL() << "expected a throw";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("captured steps keep 3.0 MiB"), std::string::npos) << text;
  }
  EXPECT_EQ(d.given_back, 0);
  (void)d.pools.end_pool();
  d.pools.trim();
  EXPECT_EQ(d.given_back, 1);
}

TEST(Pools, PlainBlocksAreTheSystemsOwnAndOfTheSizeAskedFor) {
  FakeDevice d(64 * kMiB, true);
  void* a = d.pools.take(700);
  void* b = d.pools.take(3 * kMiB + 1);
  void* none = d.pools.take(0);
  EXPECT_EQ(d.live.at(a), 700U);
  EXPECT_EQ(d.live.at(b), 3 * kMiB + 1);
  EXPECT_EQ(d.live.count(none), 1U);
  d.pools.give(a);
  EXPECT_EQ(d.live.count(a), 0U);  // at once
  EXPECT_EQ(d.pools.stats().in_use, 3 * kMiB + 2);
  EXPECT_EQ(d.pools.stats().reserved, 3 * kMiB + 2);
}

TEST(Pools, PlainMemoryIsNotCaptured) {
  FakeDevice d(64 * kMiB, true);
  EXPECT_THROW(d.pools.begin_pool(), Error);
}

TEST(Pools, CountsWhatTensorsHold) {
  FakeDevice d(64 * kMiB);
  void* a = d.pools.take(2 * kMiB);
  void* b = d.pools.take(4 * kMiB);
  EXPECT_EQ(d.pools.stats().in_use, 6 * kMiB);
  d.pools.give(b);
  EXPECT_EQ(d.pools.stats().in_use, 2 * kMiB);
  EXPECT_EQ(d.pools.stats().peak, 6 * kMiB);
  d.pools.reset_peak();
  EXPECT_EQ(d.pools.stats().peak, 2 * kMiB);
  EXPECT_EQ(d.pools.stats().reserved, 6 * kMiB);
  d.pools.give(a);
}

}  // namespace
}  // namespace spn::kernels::cuda
