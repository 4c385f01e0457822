// What calls have to do at least: operations and bytes, for costs and profiles.
#include "kernels/work.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/profile.h"
#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn::kernels {
namespace {

TEST(Work, OfAProduct) {
  const Tensor a = Tensor::zeros({2, 3, 5}), b = Tensor::zeros({2, 5, 7}), c = Tensor::zeros({2, 3, 7});
  const Work w = work_of(Gemm{.a = a, .b = b, .c = c});
  EXPECT_EQ(w.flops, 2.0 * 2 * 3 * 5 * 7);
  EXPECT_EQ(w.bytes, 4.0 * (2 * 3 * 5 + 2 * 5 * 7 + 2 * 3 * 7));
}

TEST(Work, OfAConvolutionsPasses) {
  const Tensor x = Tensor::zeros({2, 3, 8, 8}), w = Tensor::zeros({4, 3, 3, 3}), y = Tensor::zeros({2, 4, 8, 8});
  const double one = 2.0 * 2 * 4 * 64 * 27;
  EXPECT_EQ(flops_of(ConvFwd{.conv = {1, 1}, .x = x, .w = w, .y = y}), one);
  EXPECT_EQ(flops_of(ConvBwd{.conv = {1, 1}, .x = x, .w = w, .dy = y, .dx = x, .dw = w}), 2 * one);
  EXPECT_EQ(flops_of(ConvBwd{.conv = {1, 1}, .x = x, .w = w, .dy = y, .dw = w}), one);
  const double in = 4.0 * 2 * 3 * 64, filters = 4.0 * 4 * 27, out = 4.0 * 2 * 4 * 64;
  EXPECT_EQ(bytes_of(ConvBwd{.conv = {1, 1}, .x = x, .w = w, .dy = y, .dw = w}), in + filters + out);
  EXPECT_EQ(bytes_of(ConvBwd{.conv = {1, 1}, .x = x, .w = w, .dy = y, .db = y}), 2 * out);
  // each of the two products reads dy; one that adds to dx reads it too
  EXPECT_EQ(bytes_of(ConvBwd{.x = x, .w = w, .dy = y, .dx = x, .dw = w}), 2 * in + 2 * filters + 2 * out);
  EXPECT_EQ(bytes_of(ConvBwd{.x = x, .w = w, .dy = y, .dx = x, .accumulate_dx = true}), 2 * in + filters + out);
}

TEST(Work, OfAttentionsGradientsThoseThatAreWanted) {
  const Tensor q = Tensor::zeros({2, 3, 5, 4}), k = Tensor::zeros({2, 3, 7, 4}), lse = Tensor::zeros({2, 3, 5});
  const double one = 2.0 * 2 * 3 * 5 * 7 * 4, queries = 4.0 * 120, keys = 4.0 * 168, sums = 4.0 * 30;
  EXPECT_EQ(flops_of(AttentionFwd{.q = q, .k = k, .v = k, .o = q, .lse = lse}), 2 * one);
  const AttentionBwd none{.q = q, .k = k, .v = k, .o = q, .lse = lse, .d_o = q};
  AttentionBwd values = none, query = none, all = none;
  values.dv = k;
  query.dq = q;
  all.dq = q, all.dk = k, all.dv = k;
  EXPECT_EQ(flops_of(values), 2 * one);  // the logits and dv
  EXPECT_EQ(flops_of(query), 3 * one);
  EXPECT_EQ(flops_of(all), 5 * one);
  EXPECT_EQ(bytes_of(all), 3 * queries + 4 * keys + sums);  // q, d_o, dq; k, v, dk, dv
}

TEST(Work, OfTheLossTheLogitsTwiceAndTheGradientsThatAreWanted) {
  const Tensor x = Tensor::zeros({6, 4}), y = Tensor::zeros({10, 4});
  const double one = 2.0 * 6 * 10 * 4;
  EXPECT_EQ(flops_of(ContrastiveFwd{.x = x, .y = y}), one);
  EXPECT_EQ(flops_of(ContrastiveBwd{.x = x, .y = y, .dx = x}), 2 * one);
  EXPECT_EQ(flops_of(ContrastiveBwd{.x = x, .y = y, .dx = x, .dy = y}), 3 * one);
}

TEST(Work, WhatIsBroadcastIsReadOnce) {
  const Tensor x = Tensor::zeros({6, 5}), bias = Tensor::zeros({5}), y = Tensor::zeros({6, 5});
  EXPECT_EQ(bytes_of(Binary{.op = BinaryOp::add, .a = x, .b = bias.expand({6, 5}), .y = y}), 4.0 * (30 + 5 + 30));
  EXPECT_EQ(flops_of(Binary{.op = BinaryOp::add, .a = x, .b = x, .y = y}), 0.0);
}

TEST(Work, RowsByIndexAreThoseThatMove) {
  const Tensor x = Tensor::zeros({1000, 5}), y = Tensor::zeros({3, 5}),
               index = Tensor::from(std::vector<std::int64_t>{1, 2, 3}, {3});
  EXPECT_EQ(bytes_of(GatherRows{.x = x, .index = index, .y = y}), 3 * 8 + 2 * 4.0 * 15);
  EXPECT_EQ(bytes_of(ScatterAddRows{.x = y, .index = index, .y = x}), 3 * 8 + 4.0 * (15 + 5000));
}

TEST(Work, OptimisersCountEveryTensor) {
  const Tensor w = Tensor::zeros({10}), r = Tensor::zeros({10}, DType::bf16);
  const AdamWParam plain{.w = w, .grad = w, .m = w, .v = w}, copied{.w = w, .grad = w, .m = w, .v = w, .copy = r};
  const AdamWParam two[] = {plain, copied};
  EXPECT_EQ(bytes_of(AdamW{.params = two}), 2 * 7 * 40.0 + 20);
}

TEST(Work, AProfileAddsUpWhatItsCallsDid) {
  const Tensor a = Tensor::zeros({3, 5}), b = Tensor::zeros({5, 7}), c = Tensor::zeros({3, 7});
  profile_start();
  for (int i = 0; i < 4; ++i) run<&Table::gemm>({.a = a, .b = b, .c = c});
  const auto rows = profile_stop();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].entry, "gemm");
  EXPECT_EQ(rows[0].calls, 4);
  EXPECT_EQ(rows[0].work.flops, 4 * 2.0 * 3 * 5 * 7);
  EXPECT_EQ(rows[0].work.bytes, 4 * 4.0 * (15 + 35 + 21));
  run<&Table::gemm>({.a = a, .b = b, .c = c});  // nobody counts any more
  profile_start();
  EXPECT_TRUE(profile_stop().empty());
}

}  // namespace
}  // namespace spn::kernels
