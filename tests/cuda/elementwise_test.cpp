// Elementwise kernels: every function, dtype, odd size and layout against the CPU.
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

constexpr UnaryOp kUnary[] = {UnaryOp::neg,  UnaryOp::exp,  UnaryOp::log,  UnaryOp::sqrt,   UnaryOp::square,
                              UnaryOp::relu, UnaryOp::gelu, UnaryOp::tanh, UnaryOp::sigmoid};
constexpr BinaryOp kBinary[] = {BinaryOp::add, BinaryOp::sub, BinaryOp::mul,
                                BinaryOp::div, BinaryOp::max, BinaryOp::min};

class CudaElementwise : public test::Twin {};

TEST_F(CudaElementwise, UnaryValuesAndGradients) {
  for (const DType dtype : test::kFloats)
    for (const UnaryOp op : kUnary)
      for (const Shape& shape : {Shape{1}, Shape{7}, Shape{1027}, Shape{3, 5, 9}}) {
        const Tensor x = random(shape, 1, dtype, 0.25, 2), dy = random(shape, 2, dtype);
        const Tensor y = compare(
            [&](const auto& at, const Tensor& out) {
              run<&Table::unary_fwd>({op, at(x), out});
            },
            shape, dtype, 4);
        compare(
            [&](const auto& at, const Tensor& out) {
              run<&Table::unary_bwd>({op, at(x), at(y), at(dy), out});
            },
            shape, dtype, 4);
      }
}

// Every bf16 there is, in the order of its bits, padded so that both loops of the kernel have some.
Tensor every_bf16() {
  std::vector<double> all;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    bf16 v;
    v.bits = static_cast<std::uint16_t>(bits);
    all.push_back(static_cast<float>(v));
  }
  all.push_back(1);
  return Tensor::from(all, {65537}).to(DType::bf16);
}

// GELU in bf16 has formulas of its own on a GPU: no further from the exact value than rounding to bf16 takes it, 2^-8
// of it, and a hundredth of that. Its gradient likewise, but by 1e-5 around its root. Below −6 both are as good as 0.
TEST_F(CudaElementwise, GeluInBf16IsExactButForRounding) {
  const Tensor x = every_bf16(), one = Tensor::from(std::vector<double>(65537, 1.0), {65537}).to(DType::bf16);
  const Tensor on = x.to(test::kGpu), dy = one.to(test::kGpu), y = poisoned({{65537}, DType::bf16}, test::kGpu),
               dx = poisoned({{65537}, DType::bf16}, test::kGpu);
  run<&Table::unary_fwd>({UnaryOp::gelu, on, y});
  run<&Table::unary_bwd>({UnaryOp::gelu, on, y, dy, dx});
  const auto at = x.to(DType::f64).to_vector<double>(), value = y.to(Device{}).to(DType::f64).to_vector<double>(),
             slope = dx.to(Device{}).to(DType::f64).to_vector<double>();
  const double rounding = 1.01 / 256, smallest = 0x1p-126;  // below it numbers may be 0
  for (std::size_t i = 0; i < at.size(); ++i) {
    const long double v = at[i], below = std::erfc(-v / std::sqrt(2.0L)) / 2;
    if (std::isnan(at[i])) {
      EXPECT_TRUE(std::isnan(value[i]) && std::isnan(slope[i]));
    } else if (v >= 6) {  // also infinity
      EXPECT_EQ(value[i], at[i]);
      EXPECT_EQ(slope[i], 1);
    } else if (v < -6) {
      EXPECT_LE(std::abs(value[i]), 6e-9) << at[i];
      EXPECT_LE(std::abs(slope[i]), 4e-8) << at[i];
    } else {
      const double exact = static_cast<double>(v * below),
                   gradient = static_cast<double>(below + v * std::exp(-v * v / 2) / std::sqrt(2 * std::acos(-1.0L)));
      EXPECT_LE(std::abs(value[i] - exact), rounding * std::abs(exact) + smallest) << at[i];
      EXPECT_LE(std::abs(slope[i] - gradient), rounding * std::abs(gradient) + (v > -1 ? 1e-5 : 0)) << at[i];
    }
  }
}

TEST_F(CudaElementwise, BinaryBroadcastsAndStrides) {
  for (const DType dtype : test::kFloats)
    for (const BinaryOp op : kBinary) {
      const Shape shape{3, 5, 33};
      const Tensor a = random(shape, 1, dtype, 0.5, 2);
      for (const Tensor& b : {random(shape, 2, dtype, 0.5, 2), random({33}, 3, dtype, 0.5, 2),
                              random({3, 1, 1}, 4, dtype, 0.5, 2), random({5, 1}, 5, dtype, 0.5, 2)})
        compare(
            [&](const auto& at, const Tensor& out) {
              run<&Table::binary>({op, at(a), at(b).expand(shape), out});
            },
            shape, dtype);
      const Tensor t = random({33, 5, 3}, 6, dtype, 0.5, 2);
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::binary>({op, at(a), at(t).transpose(0, 2), out});
          },
          shape, dtype);
    }
}

// Rows beside a vector, runs beside a value each, and what is just not fit for packs: odd lengths, odd beginnings.
TEST_F(CudaElementwise, BroadcastsInPacks) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t width : {8, 16, 548, 1024, 1027})
      for (const std::int64_t from : {0, 1}) {
        const Shape shape{3, 5, width};
        const Tensor a = random({3, 5, width + from}, 1, dtype), row = random({width + from}, 2, dtype);
        const Tensor table = random({5, width + from}, 3, dtype), value = random({3, 5, 1}, 4, dtype);
        const auto part = [&](const Tensor& t) { return t.narrow(-1, from, width); };
        for (const Tensor& b : {row, table})
          compare(
              [&](const auto& at, const Tensor& out) {
                run<&Table::binary>({BinaryOp::mul, part(at(a)), part(at(b)).expand(shape), out});
              },
              shape, dtype);
        compare(
            [&](const auto& at, const Tensor& out) {
              run<&Table::binary>({BinaryOp::add, at(value).expand(shape), part(at(a)), out});
            },
            shape, dtype);
        compare(
            [&](const auto& at, const Tensor& out) {
              out.copy_from(part(at(a)));
              run<&Table::binary>({BinaryOp::sub, out, part(at(row)).expand(shape), out});
            },
            shape, dtype);
      }
}

TEST_F(CudaElementwise, CopiesInPacks) {
  for (const auto& [from, to] : {std::pair{DType::f32, DType::bf16},
                                 {DType::bf16, DType::f32},
                                 {DType::f32, DType::f32},
                                 {DType::bf16, DType::bf16},
                                 {DType::u8, DType::u8},
                                 {DType::i64, DType::i64}})
    for (const std::int64_t n : {1, 7, 8, 16, 33, 1000, 4099}) {
      const Tensor x = random({4, n + 16}, 1, DType::f32, 0, 100).to(from);
      for (const std::int64_t begin : {0, 1, 16})  // the second is not aligned
        compare(
            [&](const auto& at, const Tensor& out) { run<&Table::copy>({.x = at(x).narrow(1, begin, n), .y = out}); },
            {4, n}, to);
      compare([&](const auto& at, const Tensor& out) { run<&Table::copy>({.x = at(x), .y = out}); }, {4, n + 16}, to);
      compare(  // parts of a wider row, as tokens are joined
          [&](const auto& at, const Tensor& out) {
            out.fill(3);
            run<&Table::copy>({.x = at(x).narrow(1, 0, n), .y = out.narrow(1, 16, n)});
          },
          {4, n + 24}, to);
      compare(  // one row for all
          [&](const auto& at, const Tensor& out) {
            run<&Table::copy>({.x = at(x).narrow(0, 2, 1).narrow(1, 0, n).expand({4, n}), .y = out});
          },
          {4, n}, to);
    }
}

TEST_F(CudaElementwise, AffineInPlaceAndUnaligned) {
  for (const DType dtype : test::kFloats) {
    const Tensor x = random({101}, 1, dtype);
    compare([&](const auto& at, const Tensor& out) { run<&Table::affine>({1.5, -0.25, at(x), out}); }, {101}, dtype);
    compare(  // a view that does not begin at 16 bytes
        [&](const auto& at, const Tensor& out) {
          run<&Table::affine>({1.5, -0.25, at(x).narrow(0, 1, 100), out});
        },
        {100}, dtype);
  }
}

TEST_F(CudaElementwise, CopiesBetweenAllDtypesAndLayouts) {
  const std::vector<DType> all = {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64, DType::u8};
  std::vector<double> values;
  for (int i = 0; i < 3 * 5 * 17; ++i) values.push_back(i % 200);  // exact in every dtype
  const Tensor plain = Tensor::from(values, {3, 5, 17});
  for (const DType from : all)
    for (const DType to : all) {
      const Tensor x = plain.to(from);
      compare([&](const auto& at, const Tensor& out) { run<&Table::copy>({.x = at(x), .y = out}); }, {3, 5, 17}, to);
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::copy>({.x = at(x), .y = out.reshape({3, 5, 17}).transpose(0, 2).transpose(0, 2)});
          },
          {3, 5, 17}, to);
      compare([&](const auto& at, const Tensor& out) { run<&Table::copy>({.x = at(x).transpose(0, 2), .y = out}); },
              {17, 5, 3}, to);
      compare([&](const auto&, const Tensor& out) { run<&Table::copy>({.value = 3, .y = out.narrow(0, 0, 17)}); }, {17},
              to);
    }
}

TEST_F(CudaElementwise, EmptyViewsLaunchNothing) {
  const Tensor x = Tensor::empty({0, 4});
  compare(
      [&](const auto& at, const Tensor& out) {
        run<&Table::unary_fwd>({UnaryOp::exp, at(x), out});
      },
      {0, 4}, DType::f32);
}

}  // namespace
}  // namespace spn::kernels
