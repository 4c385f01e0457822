// Matrix products against the CPU: what cuBLASLt computes on a GPU, and our kernel for long sums. Under the emulator
// cuBLASLt's part is the CPU's, and what is asked of it is what is tested.
#include <string>

#include "kernels/devices.h"
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

// Our own kernel: sums too long for a library's one tile, with a's rows packed, odd, or apart.
TEST_F(CudaGemm, LongSumsOfFewProducts) {
  struct Long {
    std::int64_t m, n, k;
    bool sums, transposed_b;
  };
  for (const auto& [in, out] : kTypes)
    for (const auto& [m, n, k, sums, transposed_b] :
         {Long{8, 1, 65536, true, false}, {8, 2, 65537, false, true}, {3, 1, 66001, true, false}}) {
      SCOPED_TRACE(fmt::format("{} x {} x {} {} to {}", m, k, n, name_of(in), name_of(out)));
      const Tensor dy = random({k, m}, 1, in), x = transposed_b ? random({n, k}, 2, in) : random({k, n}, 2, in);
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& got) {
            const Tensor a = at(dy), b = transposed_b ? at(x).transpose(0, 1) : at(x);
            run<&Table::gemm>({.a = a.transpose(0, 1), .b = b, .c = got[0], .sums = sums ? got[1].view() : View{}});
            if (!sums) got[1].fill(0);
          },
          {{{m, n}, out, 16 * k}, {{m}, out, 16 * k}});
    }
}

// The gradient of a token's weights in the full model, a batch of 64: m = 8, n = 1, k = 64 · 512.
TEST_F(CudaGemm, TokensOfTheFullModel) {
  const std::int64_t rows = 64 * 512;
  for (const auto& [in, out] : kTypes) {
    const Tensor x = random({rows, 1}, 1, in), w = random({8, 1}, 2, in), bias = random({8}, 3, out);
    const Tensor dy = random({rows, 8}, 4, in);
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& got) {
          const Tensor a = at(x), b = at(w), z = at(bias), d = at(dy);
          run<&Table::gemm>({.a = a, .b = b.transpose(0, 1), .c = got[0], .bias = z});
          run<&Table::gemm>({.a = d, .b = b, .c = got[1]});
          run<&Table::gemm>({.a = d.transpose(0, 1), .b = a, .c = got[2], .sums = got[3]});
        },
        {{{rows, 8}, out, 16}, {{rows, 1}, out, 128}, {{8, 1}, out, 16 * rows}, {{8}, out, 16 * rows}});
  }
}

// Ten bits of mantissa, on a GPU; the emulator has no such unit and computes in f32.
TEST_F(CudaGemm, Tf32IsNearAndCanBeTurnedOff) {
  const Tensor a = random({96, 256}, 1, DType::f32), b = random({256, 64}, 2, DType::f32);
  const auto multiply = [&](Device device) {
    const Tensor c = poisoned({{96, 64}, DType::f32}, device), x = a.to(device), y = b.to(device);
    run<&Table::gemm>({.a = x, .b = y, .c = c});
    return c.to(Device{});
  };
  const Tensor want = multiply(Device{});
  allow_tf32(true);
  const Tensor tf32 = multiply(test::kGpu);
  allow_tf32(false);
  // sums of 256 products of at most 1: sqrt(256 / 9) is what they are like
  EXPECT_TRUE(test::close(tf32, want, {1e-3, 1e-3 * 5.3}));
  EXPECT_TRUE(test::close(multiply(test::kGpu), want, test::tolerance(DType::f32, 16 * 256)));
}

}  // namespace
}  // namespace spn::kernels
