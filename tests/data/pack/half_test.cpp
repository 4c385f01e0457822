// float16: every one of the 65536 values, and rounding at every boundary between two of them.
#include "data/pack/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

namespace spn::data {
namespace {

TEST(Half, EveryValueGoesRound) {
  std::vector<std::uint16_t> all(65536), back(65536);
  std::vector<float> wide(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  from_half(all, wide);
  to_half(wide, back);
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(from_half(all[i])), std::bit_cast<std::uint32_t>(wide[i])) << i;
    ASSERT_EQ(to_half(wide[i]), back[i]) << i;
    if (!std::isnan(wide[i])) {
      ASSERT_EQ(back[i], all[i]);
    }
  }
}

TEST(Half, KnownValues) {
  EXPECT_EQ(from_half(0x3c00), 1.0F);
  EXPECT_EQ(from_half(0xc000), -2.0F);
  EXPECT_EQ(from_half(0x7bff), 65504.0F);
  EXPECT_EQ(from_half(0x0001), 0x1p-24F);
  EXPECT_EQ(to_half(65519.996F), 0x7bff);
  EXPECT_EQ(to_half(65520.0F), 0x7c00);
  EXPECT_EQ(to_half(0x1p-25F), 0x0000);  // a tie goes to the even neighbour
  EXPECT_EQ(to_half(0x1.8p-24F), 0x0002);
  EXPECT_TRUE(std::isnan(from_half(to_half(std::nanf("")))));
}

TEST(Half, RoundsToNearestEvenAsTheProcessorDoes) {
  // midpoints of neighbours, and one float to either side; software and vector path must agree bit for bit
  std::vector<float> in;
  for (std::uint32_t h = 0; h < 0x7bff; ++h) {
    const float a = from_half(static_cast<std::uint16_t>(h)), b = from_half(static_cast<std::uint16_t>(h + 1));
    const float mid = a + (b - a) / 2;
    for (float v : {mid, std::nextafterf(mid, a), std::nextafterf(mid, b), -mid}) in.push_back(v);
    ASSERT_EQ(to_half(mid), h % 2 == 0 ? h : h + 1) << h;
    ASSERT_EQ(to_half(std::nextafterf(mid, a)), h);
    ASSERT_EQ(to_half(std::nextafterf(mid, b)), h + 1);
  }
  std::vector<std::uint16_t> out(in.size());
  to_half(in, out);
  for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], to_half(in[i])) << in[i];
}

}  // namespace
}  // namespace spn::data
