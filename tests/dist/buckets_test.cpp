// Layout of buckets, and their reductions against plain ones.
#include "engine/dist/buckets.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/world.h"

namespace spn::dist {
namespace {

TEST(Buckets, LaysPiecesOutFromTheLast) {
  // 10 f32 = 40 bytes take 64; buckets close at 128 bytes
  const auto l = lay_out_buckets({{10}, {10}, {10}, {100}, {3, DType::f64}, {0}}, 128);
  ASSERT_EQ(l.buckets.size(), 5U);
  EXPECT_EQ(l.slots[5].bucket, 0);  // alone: the next piece is of another dtype
  EXPECT_EQ(l.slots[4].bucket, 1);
  EXPECT_EQ(l.buckets[1].dtype, DType::f64);
  EXPECT_EQ(l.slots[3].bucket, 2);
  EXPECT_EQ(l.slots[2].bucket, 3);
  EXPECT_EQ(l.slots[1].bucket, 3);
  EXPECT_EQ(l.slots[1].offset, 16);
  EXPECT_EQ(l.slots[1].place, 1);
  EXPECT_EQ(l.slots[0].bucket, 4);
  EXPECT_EQ(l.buckets[3].flags, 32);
  EXPECT_EQ(l.buckets[3].numel, 34);
  EXPECT_TRUE(lay_out_buckets({}, 128).buckets.empty());
}

TEST(Buckets, LateBucketsWaitTheirTurnOnAllRanks) {
  Comm& comm = test::world();
  const std::vector<BucketPiece> pieces(6, {40});
  const auto layout = lay_out_buckets(pieces, 1);  // one a bucket
  std::vector<std::vector<float>> memory;
  std::vector<View> views;
  for (const auto& b : layout.buckets) memory.emplace_back(static_cast<std::size_t>(b.numel));
  for (auto& m : memory) views.push_back(host_view(m.data(), {static_cast<std::int64_t>(m.size())}));
  BucketReducer reducer(comm, layout, views);
  for (int round = 0; round < 3; ++round) {
    // every rank fills in another order: only the order of reductions is shared
    for (int k = 0; k < 6; ++k) {
      const int bucket = (k * 5 + comm.rank() + round) % 6;
      auto& m = memory[static_cast<std::size_t>(bucket)];
      for (std::size_t i = 0; i < m.size(); ++i)
        m[i] = static_cast<float>(bucket * 1000 + static_cast<int>(i) + comm.rank() + round);
      reducer.arrived(bucket);
    }
    reducer.finish();
    const int ranks = comm.size(), rank_sum = ranks * (ranks - 1) / 2;
    for (int b = 0; b < 6; ++b)
      for (std::size_t i = 0; i < 41; ++i)
        ASSERT_EQ(memory[static_cast<std::size_t>(b)][i],
                  static_cast<float>(ranks * (b * 1000 + static_cast<int>(i) + round) + rank_sum));
  }
}

TEST(Buckets, MissingAndExtraPiecesAreNamed) {
  const auto self = make_self();
  const auto layout = lay_out_buckets({{4}, {4}}, 1024);
  std::vector<float> memory(static_cast<std::size_t>(layout.buckets[0].numel));
  BucketReducer reducer(*self, layout, {host_view(memory.data(), {layout.buckets[0].numel})});
  reducer.arrived(0);
  EXPECT_THROW(reducer.finish(), Error);
  reducer.arrived(0);
  EXPECT_THROW(reducer.arrived(0), Error);
  reducer.finish();
}

}  // namespace
}  // namespace spn::dist
