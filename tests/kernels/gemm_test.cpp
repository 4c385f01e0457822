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

}  // namespace
}  // namespace spn::kernels
