// What kernels promise beyond what ops use: copies between all dtypes, maxima, accumulation, precision of long sums.
#include <gtest/gtest.h>

#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn::kernels {
namespace {

using test::close;
using test::random;
using test::strided_copy;
using test::tolerance;

TEST(Copy, BetweenAllDtypesAndLayouts) {
  const std::vector<DType> all = {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64, DType::u8};
  std::vector<double> values;
  for (int i = 0; i < 3 * 5 * 17; ++i) values.push_back(i % 200);  // exact in every dtype
  const Tensor x = Tensor::from(values, {3, 5, 17});
  for (const DType from : all)
    for (const DType to : all) {
      const Tensor source = x.to(from), y = Tensor::empty({17, 5, 3}, to).transpose(0, 2);
      y.copy_from(source);
      EXPECT_TRUE(close(y, x, {0, 0})) << name_of(from) << " to " << name_of(to);
      EXPECT_TRUE(close(strided_copy(source).to(to), x, {0, 0})) << name_of(from) << " to " << name_of(to);
    }
}

TEST(Copy, TransposesOfAllSizes) {
  for (const std::int64_t rows : {1, 7, 8, 31, 33, 70})
    for (const std::int64_t cols : {1, 9, 32, 65}) {
      const Tensor x = random({2, rows, cols}, 1, DType::f32), y = x.transpose(1, 2).contiguous();
      const auto a = x.to_vector<float>(), b = y.to_vector<float>();
      for (std::int64_t n = 0; n < 2; ++n)
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < cols; ++j)
            ASSERT_EQ(a[static_cast<std::size_t>((n * rows + i) * cols + j)],
                      b[static_cast<std::size_t>((n * cols + j) * rows + i)]);
    }
}

TEST(Copy, RoundsToNearestEven) {
  // 1 + 2^-8 lies halfway between two bf16: the even one is 1; 1 + 3·2^-8 goes up.
  const Tensor x = Tensor::from<float>({1.00390625F, 1.01171875F, -0.0F}, {3});
  EXPECT_TRUE(close(x.to(DType::bf16), Tensor::from<float>({1.0F, 1.015625F, 0.0F}, {3}), {0, 0}));
}

TEST(Reduce, MaximumOfRowsAndColumns) {
  const Tensor x = random({33, 700}, 2, DType::f32, -5, -1);  // below 0: a start at 0 would show
  const auto v = x.to_vector<float>();
  const Tensor rows = Tensor::empty({33, 1}), columns = Tensor::empty({1, 700}), all = Tensor::empty({1, 1});
  run<&Table::reduce>({.kind = ReduceKind::max, .x = x, .y = rows});
  run<&Table::reduce>({.kind = ReduceKind::max, .x = x, .y = columns});
  run<&Table::reduce>({.kind = ReduceKind::max, .x = x, .y = all});
  std::vector<float> r(33, -10), c(700, -10);
  for (std::size_t i = 0; i < 33; ++i)
    for (std::size_t j = 0; j < 700; ++j) {
      r[i] = std::max(r[i], v[i * 700 + j]);
      c[j] = std::max(c[j], v[i * 700 + j]);
    }
  EXPECT_EQ(rows.to_vector<float>(), r);
  EXPECT_EQ(columns.to_vector<float>(), c);
  EXPECT_EQ(all.item(), *std::max_element(v.begin(), v.end()));
}

// A naive f32 sum of 2^22 values near 1 is off by thousands of units; runs folded in double are not.
TEST(Reduce, LongSumsStayPrecise) {
  const Tensor x = random({1 << 22}, 3, DType::f32, 0.9, 1.1), y = Tensor::empty({1});
  run<&Table::reduce>({.x = x, .y = y});
  double want = 0;
  for (float e : x.to_vector<float>()) want += e;
  EXPECT_TRUE(std::abs(y.item() - want) <= 1e-6 * want) << y.item() << " against " << want;
  const Tensor tall = x.reshape({1 << 19, 8}), sums = Tensor::empty({1, 8});
  run<&Table::reduce>({.x = tall, .y = sums});
  const Tensor exact = Tensor::empty({1, 8}, DType::f64);
  run<&Table::reduce>({.x = tall.to(DType::f64), .y = exact});
  EXPECT_TRUE(close(sums, exact, {1e-6, 0}));
}

// Against a triple loop, for every mix of transposed operands, dtype, bias and accumulation.
TEST(Gemm, AllLayoutsBiasAndAccumulation) {
  struct Size {
    std::int64_t m, n, k;
  };
  for (const Size& s : {Size{1, 1, 1}, Size{3, 17, 5}, Size{129, 33, 65}, Size{1, 40, 7}, Size{17, 1, 19}})
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (int layout = 0; layout < 16; ++layout) {
        const Tensor a = random({s.m, s.k}, 1, dtype), b = random({s.k, s.n}, 2, dtype), bias = random({s.n}, 3, dtype);
        const Tensor c = random({s.m, s.n}, 4, dtype), before = c.clone();
        const bool accumulate = (layout & 4) != 0, biased = (layout & 8) != 0;
        run<&Table::gemm>({.a = layout & 1 ? strided_copy(a) : a,
                           .b = layout & 2 ? b.transpose(0, 1).contiguous().transpose(0, 1) : b,
                           .c = c,
                           .bias = biased ? bias : Tensor(),
                           .accumulate = accumulate});
        const auto av = a.to_vector<double>(), bv = b.to_vector<double>(), cv = before.to_vector<double>(),
                   biasv = bias.to_vector<double>();
        std::vector<double> want;
        for (std::int64_t i = 0; i < s.m; ++i)
          for (std::int64_t j = 0; j < s.n; ++j) {
            double sum = biased ? biasv[static_cast<std::size_t>(j)] : 0;
            for (std::int64_t l = 0; l < s.k; ++l)
              sum += av[static_cast<std::size_t>(i * s.k + l)] * bv[static_cast<std::size_t>(l * s.n + j)];
            want.push_back(sum + (accumulate ? cv[static_cast<std::size_t>(i * s.n + j)] : 0));
          }
        ASSERT_TRUE(close(c, Tensor::from(want, {s.m, s.n}), tolerance(dtype, s.k)))
            << s.m << "x" << s.n << "x" << s.k << " " << name_of(dtype) << " layout " << layout;
      }
}

TEST(Gemm, RowsFarApartAndRepeatedRows) {
  const Tensor wide = random({4, 3, 9}, 1, DType::f32), b = random({9, 5}, 2, DType::f32);
  const Tensor token = wide.select(1, 1), repeated = wide.select(0, 0).select(0, 0).unsqueeze(0).expand({6, 9});
  for (const Tensor& a : {token, repeated}) {
    const Tensor c = Tensor::empty({a.dim(0), 5}), want = Tensor::empty({a.dim(0), 5}, DType::f64);
    run<&Table::gemm>({.a = a, .b = b, .c = c});
    run<&Table::gemm>({.a = a.to(DType::f64), .b = b.to(DType::f64), .c = want});
    EXPECT_TRUE(close(c, want, tolerance(DType::f32, 9)));
  }
}

TEST(ScatterAdd, AddsInOrderAndZeroesFirst) {
  const Tensor x = Tensor::from<float>({1, 2, 10, 20, 100, 200}, {3, 2}),
               index = Tensor::from<std::int64_t>({2, 0, 2}, {3}), y = Tensor::full({4, 2}, 7);
  run<&Table::scatter_add_rows>({.x = x, .index = index, .y = y});
  EXPECT_TRUE(close(y, Tensor::from<float>({10, 20, 0, 0, 101, 202, 0, 0}, {4, 2}), {0, 0}));
}

TEST(Softmax, StaysFiniteForLargeLogits) {
  const Tensor x = Tensor::from<float>({1000, 999, -1000, -1000, -1000, -1000}, {2, 3}), y = Tensor::empty({2, 3});
  run<&Table::softmax_fwd>({.x = x, .y = y});
  const float a = 1 / (1 + std::exp(-1.0F)), third = 1.0F / 3;
  EXPECT_TRUE(close(y, Tensor::from<float>({a, 1 - a, 0, third, third, third}, {2, 3}), tolerance(DType::f32)));
}

}  // namespace
}  // namespace spn::kernels
