// Softmax, cross-entropy and L2 norm against the CPU.
#include <cmath>
#include <limits>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

// Off and on 16 bytes; registers of a warp (few, many), of a block, and beyond them.
constexpr std::int64_t kLengths[] = {1, 2, 7, 8, 31, 33, 64, 257, 264, 1000, 1024, 1032, 3001, 8200};
DType statistics(DType t) { return t == DType::bf16 ? DType::f32 : t; }

class CudaSoftmax : public test::Twin {
 protected:
  Tensor softmax(const Tensor& x, bool log) {
    const Tensor y = Tensor::empty(x.shape(), x.dtype());
    run<&Table::softmax_fwd>({.x = x, .y = y, .log = log});
    return y;
  }
};
class CudaCrossEntropy : public test::Twin {};
class CudaL2Norm : public test::Twin {};

TEST_F(CudaSoftmax, ForwardAndBackward) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : kLengths)
      for (const bool log : {false, true}) {
        const Shape shape{n < 1000 ? 9 : 3, n};
        const Tensor x = random(shape, 1, dtype, -5, 5), dy = random(shape, 2, dtype), y = softmax(x, log);
        compare(
            [&](const auto& at, const Tensor& out) { run<&Table::softmax_fwd>({.x = at(x), .y = out, .log = log}); },
            shape, dtype, 8);
        compare([&](const auto& at,
                    const Tensor& out) { run<&Table::softmax_bwd>({.y = at(y), .dy = at(dy), .dx = out, .log = log}); },
                shape, dtype, log ? n : 8);
      }
}

TEST_F(CudaSoftmax, InPlaceManyRowsAndNone) {
  for (const DType dtype : test::kFloats)
    for (const Shape& shape : {Shape{2, 111, 8}, Shape{2, 111, 5}, Shape{0, 8}}) {
      const Tensor x = random(shape, 1, dtype, -5, 5);
      compare(
          [&](const auto& at, const Tensor& out) {
            out.copy_from(at(x));
            run<&Table::softmax_fwd>({.x = out, .y = out});
          },
          shape, dtype, 8);
    }
}

// A row with a NaN, with +inf, or of -inf alone is NaN on both devices; -inf among numbers is 0.
TEST_F(CudaSoftmax, NotANumber) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const std::int64_t n : {9, 64}) {
    const Tensor x = random({5, n}, 1, DType::f32);
    x.select(0, 0).select(0, 3).fill(std::numeric_limits<double>::quiet_NaN());
    x.select(0, 1).select(0, 4).fill(inf);
    x.select(0, 2).fill(-inf);
    x.select(0, 3).select(0, 5).fill(-inf);
    for (const bool log : {false, true}) {
      const Tensor y = Tensor::empty(x.shape(), DType::f32, test::kGpu);
      run<&Table::softmax_fwd>({.x = x.to(test::kGpu), .y = y, .log = log});
      const std::vector<float> got = y.to_vector<float>(), want = softmax(x, log).to_vector<float>();
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_EQ(std::isnan(got[i]), std::isnan(want[i])) << i;
        EXPECT_EQ(std::isnan(got[i]), i < 3 * static_cast<std::size_t>(n)) << i;
      }
    }
  }
}

TEST_F(CudaCrossEntropy, ForwardAndBackward) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : kLengths) {
      const std::int64_t rows = n < 1000 ? 17 : 3;
      const Tensor x = random({rows, n}, 1, dtype, -5, 5), dloss = random({rows}, 2, dtype);
      std::vector<std::int64_t> classes;
      for (std::int64_t i = 0; i < rows; ++i) classes.push_back(i * 7919 % n);
      const Tensor target = Tensor::from(classes, {rows});
      const std::vector<Tensor> y = compare_all(
          [&](const auto& at, const std::vector<Tensor>& out) {
            run<&Table::cross_entropy_fwd>({.x = at(x), .target = at(target), .loss = out[0], .lse = out[1]});
          },
          {{{rows}, dtype, 16}, {{rows}, statistics(dtype), 16}});
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::cross_entropy_bwd>(
                {.x = at(x), .target = at(target), .lse = at(y[1]), .dloss = at(dloss), .dx = out});
          },
          {rows, n}, dtype, 16);
    }
}

// The CPU throws; here nobody has looked at the targets when the kernel runs.
TEST_F(CudaCrossEntropy, ATargetThatIsNoClassGivesNaN) {
  const Tensor x = random({3, 8}, 1, DType::f32).to(test::kGpu), dloss = Tensor::full({3}, 1).to(test::kGpu);
  const Tensor target = Tensor::from(std::vector<std::int64_t>{8, 2, -1}, {3}).to(test::kGpu);
  const Tensor loss = Tensor::zeros({3}).to(test::kGpu), lse = loss.clone(), dx = Tensor::zeros({3, 8}).to(test::kGpu);
  run<&Table::cross_entropy_fwd>({.x = x, .target = target, .loss = loss, .lse = lse});
  run<&Table::cross_entropy_bwd>({.x = x, .target = target, .lse = lse, .dloss = dloss, .dx = dx});
  const std::vector<float> l = loss.to_vector<float>(), g = dx.to_vector<float>();
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(std::isnan(l[i / 8]), i / 8 != 1);
    EXPECT_EQ(std::isnan(g[i]), i / 8 != 1);
  }
}

TEST_F(CudaL2Norm, ForwardAndBackward) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : kLengths) {
      const std::int64_t rows = n < 1000 ? 9 : 3;
      const Tensor x = random({rows, n}, 1, dtype), dy = random({rows, n}, 2, dtype);
      x.select(0, 1).fill(0);  // shorter than eps
      const std::vector<Tensor> y = compare_all(
          [&](const auto& at, const std::vector<Tensor>& out) {
            run<&Table::l2_norm_fwd>({.x = at(x), .y = out[0], .rnorm = out[1]});
          },
          {{{rows, n}, dtype, 8}, {{rows}, statistics(dtype), 8}});
      if (dtype == DType::bf16) continue;  // below: its y is rounded, and rows of zero scale by 1e12
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::l2_norm_bwd>({.y = at(y[0]), .rnorm = at(y[1]), .dy = at(dy), .dx = out});
          },
          {rows, n}, dtype, n);
    }
  for (const std::int64_t n : {7, 64, 1024}) {
    const Tensor y = random({5, n}, 3, DType::bf16, -0.1, 0.1), dy = random({5, n}, 4, DType::bf16),
                 rnorm = random({5}, 5, DType::f32, 0.5, 2);
    compare(
        [&](const auto& at, const Tensor& out) {
          run<&Table::l2_norm_bwd>({.y = at(y), .rnorm = at(rnorm), .dy = at(dy), .dx = out});
        },
        {5, n}, DType::bf16, n);
  }
}

TEST_F(CudaL2Norm, NoRows) {
  const Tensor x = Tensor::empty({0, 4}), r = Tensor::empty({0});
  compare([&](const auto& at, const Tensor& out) { run<&Table::l2_norm_fwd>({.x = at(x), .y = out, .rnorm = at(r)}); },
          {0, 4}, DType::f32);
}

}  // namespace
}  // namespace spn::kernels
