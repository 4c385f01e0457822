// Products large enough for the kernels that small ones do not reach: f32, bf16 and bf16 to f32 against f64.
#include <gtest/gtest.h>

#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn::kernels {
namespace {

using test::close;
using test::random;
using test::tolerance;

TEST(Gemm, LargeLayersAgreeWithF64) {
  for (const auto& [m, k, n] :
       {std::array<std::int64_t, 3>{300, 70, 65}, {256, 64, 64}, {517, 129, 200}, {259, 333, 67}})
    for (const Activation act : {Activation::none, Activation::relu, Activation::gelu})
      for (const bool with_bias : {true, false})
        for (const auto& [in, out] :
             {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}}) {
          SCOPED_TRACE(fmt::format("{} x {} x {} act {} bias {} {} to {}", m, k, n, static_cast<int>(act), with_bias,
                                   name_of(in), name_of(out)));
          const Tensor a = random({m, k}, 1, in), w = random({n, k}, 2, in), y = Tensor::empty({m, n}, out);
          const Tensor bias = with_bias ? random({n}, 3, DType::f32) : Tensor();
          run<&Table::gemm>({.a = a, .b = w.transpose(0, 1), .c = y, .bias = bias, .act = act});
          const Tensor want = Tensor::empty({m, n}, DType::f64);
          run<&Table::gemm>({.a = a.to(DType::f64),
                             .b = w.to(DType::f64).transpose(0, 1),
                             .c = want,
                             .bias = with_bias ? bias.to(DType::f64) : Tensor(),
                             .act = act});
          EXPECT_TRUE(close(y, want, tolerance(out, 16 * k)));
        }
}

TEST(Gemm, SumsBesideTheProduct) {
  for (const auto& [m, k, n] :
       {std::array<std::int64_t, 3>{30, 70, 65}, {1, 5, 3}, {7, 1, 2}, {9, 0, 4}, {257, 33, 31}})
    for (const auto& [in, out] : {std::pair{DType::f32, DType::f32},
                                  {DType::bf16, DType::f32},
                                  {DType::bf16, DType::bf16},
                                  {DType::f64, DType::f64}})
      for (const bool transposed : {false, true}) {
        SCOPED_TRACE(fmt::format("{} x {} x {} {} to {} {}", m, k, n, name_of(in), name_of(out), transposed));
        const Tensor rows = transposed ? random({k, m}, 1, in).transpose(0, 1) : random({m, k}, 1, in);
        const Tensor b = random({k, n}, 2, in), c = Tensor::empty({m, n}, out), plain = Tensor::empty({m, n}, out);
        const Tensor sums = Tensor::full({m}, 7, out), want = Tensor::empty({m, 1}, DType::f64);
        run<&Table::gemm>({.a = rows, .b = b, .c = c, .sums = sums});
        run<&Table::gemm>({.a = rows, .b = b, .c = plain});
        run<&Table::reduce>({.kind = ReduceKind::sum, .x = rows.to(DType::f64), .y = want});
        EXPECT_TRUE(close(c, plain, {0, 0}));
        EXPECT_TRUE(close(sums, want.reshape({m}), tolerance(out, k + 1)));
      }
}

TEST(Gemm, RefusesSumsThatDoNotFit) {
  const Tensor a = Tensor::zeros({4, 3}), b = Tensor::zeros({3, 5}), c = Tensor::zeros({4, 5}),
               four = Tensor::zeros({4}), five = Tensor::zeros({5});
  const auto refuses = [](const Gemm& g) { EXPECT_THROW(run<&Table::gemm>(g), Error); };
  refuses({.a = a, .b = b, .c = c, .sums = five});
  refuses({.a = a, .b = b, .c = c, .sums = four.to(DType::f64)});
  refuses({.a = a, .b = b, .c = c, .bias = five, .sums = four});
  refuses({.a = a, .b = b, .c = c, .act = Activation::relu, .sums = four});
  refuses({.a = a, .b = b, .c = c, .accumulate = true, .sums = four});
  refuses({.a = a.unsqueeze(0), .b = b.unsqueeze(0), .c = c.unsqueeze(0), .sums = four});
}

}  // namespace
}  // namespace spn::kernels
