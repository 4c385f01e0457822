// Views share, copies do not, and wrong shapes are explained.
#include "engine/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/table.h"

namespace spn {
namespace {

Tensor counting(const Shape& s) {
  std::vector<float> v(static_cast<std::size_t>(s.numel()));
  std::iota(v.begin(), v.end(), 0.0F);
  return Tensor::from(v, s);
}

TEST(Tensor, ViewsReadTheRightElements) {
  const Tensor t = counting({2, 3, 4});
  EXPECT_EQ(t.transpose(0, 2).to_vector<float>()[1], 12);
  EXPECT_EQ(t.narrow(1, 1, 2).to_vector<float>(),
            (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(t.select(0, 1).shape(), (Shape{3, 4}));
  EXPECT_EQ(t.permute({2, 0, 1}).shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(t.reshape({-1, 6}).shape(), (Shape{4, 6}));
  EXPECT_EQ(t.transpose(1, 2).reshape({24}).to_vector<float>()[1], 4) << "reshape of a transposed view copies";
  EXPECT_EQ(counting({3}).expand({2, 3}).to_vector<float>(), (std::vector<float>{0, 1, 2, 0, 1, 2}));
}

TEST(Tensor, WritesThroughViewsAndNotThroughCopies) {
  const Tensor t = Tensor::zeros({2, 2});
  t.select(0, 1).fill(5);
  const Tensor copy = t.clone();
  t.fill(1);
  EXPECT_EQ(copy.to_vector<float>(), (std::vector<float>{0, 0, 5, 5}));
}

TEST(Tensor, ChannelsLastKeepsValues) {
  const Tensor t = counting({2, 3, 2, 2});
  const Tensor c = t.channels_last();
  EXPECT_TRUE(c.is_channels_last());
  EXPECT_EQ(c.to_vector<float>(), t.to_vector<float>());
  EXPECT_EQ(static_cast<float*>(c.view().data)[1], 4) << "the second value in memory is channel 1 of pixel 0";
}

TEST(Tensor, ExplainsWrongShapes) {
  const Tensor t = counting({2, 3});
  try {
    t.reshape({4, 2});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("[2, 3]"), std::string::npos) << e.what();
  }
  EXPECT_THROW(t.narrow(0, 1, 2), Error);
  EXPECT_THROW(t.expand({3, 3}), Error);
  EXPECT_THROW(t.item(), Error);
}

TEST(Tensor, EmptyTensorsAreTensors) {
  const Tensor t = Tensor::zeros({0, 4});
  EXPECT_TRUE(t);
  EXPECT_EQ(t.reshape({4, 0}).numel(), 0);
  EXPECT_TRUE(t.clone().to_vector<float>().empty());
}

TEST(Tensor, MemoryIsReusedAndCounted) {
  const auto& table = kernels::cpu_table();
  const std::size_t before = table.memory().in_use;
  void* first = nullptr;
  {
    const Tensor t = Tensor::empty({1000, 1000});
    first = t.view().data;
    EXPECT_GE(table.memory().in_use, before + 4000000);
  }
  EXPECT_EQ(table.memory().in_use, before);
  EXPECT_EQ(Tensor::empty({1000, 1000}).view().data, first);
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0F + 1.0F / 256)), 1.0F);
  EXPECT_EQ(static_cast<float>(bf16(1.0F + 3.0F / 256)), 1.0F + 4.0F / 256);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::nanf("")))));
}

}  // namespace
}  // namespace spn
