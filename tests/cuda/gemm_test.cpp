// Matrix products against the CPU: what cuBLASLt computes on a GPU. Under the emulator both sides are the CPU's, and
// the checks of arguments are what is tested.
#include <string>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

class CudaGemm : public test::Twin {};

struct Types {
  DType in, out;
};
constexpr Types kTypes[] = {
    {DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}, {DType::f64, DType::f64}};

TEST_F(CudaGemm, LayersForward) {
  for (const auto& [in, out] : kTypes)
    for (const auto& [m, k, n] : {std::array<std::int64_t, 3>{300, 72, 64}, {33, 31, 7}, {1, 257, 5}, {64, 1, 8}})
      for (const Activation act : {Activation::none, Activation::relu, Activation::gelu})
        for (const bool with_bias : {false, true}) {
          SCOPED_TRACE(fmt::format("{} x {} x {} {} to {}", m, k, n, name_of(in), name_of(out)));
          const Tensor a = random({m, k}, 1, in), w = random({n, k}, 2, in);
          const Tensor bias = with_bias ? random({n}, 3, out) : Tensor();
          compare(
              [&](const auto& at, const Tensor& c) {
                const Tensor x = at(a), y = at(w), z = with_bias ? at(bias) : Tensor();
                run<&Table::gemm>({.a = x, .b = y.transpose(0, 1), .c = c, .bias = z, .act = act});
              },
              {m, n}, out, 16 * k);
        }
}

// A layer's gradient of its weights, with that of its bias beside it.
TEST_F(CudaGemm, SumsBesideTheProduct) {
  for (const auto& [in, out] : kTypes)
    for (const auto& [m, k, n] :
         {std::array<std::int64_t, 3>{64, 300, 72}, {7, 33, 31}, {1, 257, 8}, {256, 1, 8}, {8, 0, 16}}) {
      SCOPED_TRACE(fmt::format("{} x {} x {} {} to {}", m, k, n, name_of(in), name_of(out)));
      const Tensor dy = random({k, m}, 1, in), x = random({k, n}, 2, in);
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& got) {
            const Tensor a = at(dy), b = at(x);
            run<&Table::gemm>({.a = a.transpose(0, 1), .b = b, .c = got[0], .sums = got[1]});
          },
          {{{m, n}, out, 16 * k + 1}, {{m}, out, 16 * k + 1}});
    }
}

TEST_F(CudaGemm, BatchesOfMatrices) {
  for (const auto& [in, out] : kTypes) {
    const Tensor a = random({3, 2, 17, 24}, 1, in), b = random({3, 2, 9, 24}, 2, in);
    compare(
        [&](const auto& at, const Tensor& c) {
          const Tensor x = at(a), y = at(b);
          run<&Table::gemm>({.a = x, .b = y.transpose(2, 3), .c = c});
        },
        {3, 2, 17, 9}, out, 16 * 24);
  }
}

}  // namespace
}  // namespace spn::kernels
