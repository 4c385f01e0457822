// Convolutions against the CPU: what cuDNN computes on a GPU, and how views get into its layouts and back. Under the
// emulator the CPU computes them in cuDNN's layouts.
#include "kernels/devices.h"
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

struct Case {
  const char* what;
  std::int64_t n, c, h, w, out;
  int kernel;
  ConvShape conv;
  std::int64_t kh() const { return conv.one_dim ? 1 : kernel; }
  std::int64_t oh() const { return (h + 2 * conv.pad_h() - kh()) / conv.stride_h() + 1; }
  std::int64_t ow() const { return (w + 2 * conv.pad - kernel) / conv.stride + 1; }
};
const Case kCases[] = {
    {"1x1", 2, 16, 7, 5, 24, 1, {}},
    {"1x1 stride 2", 2, 16, 8, 8, 32, 1, {.stride = 2}},
    {"1x1 stride 2, odd", 2, 7, 9, 7, 5, 1, {.stride = 2}},
    {"3x3", 2, 16, 8, 8, 16, 3, {.pad = 1}},
    {"3x3 stride 2", 2, 16, 9, 8, 24, 3, {.stride = 2, .pad = 1}},
    {"3x3, odd channels", 3, 5, 9, 11, 7, 3, {.pad = 1}},
    {"3x3 of colours", 2, 3, 12, 12, 16, 3, {.pad = 1}},
    {"7x7 stride 2 of colours", 2, 3, 21, 18, 16, 7, {.stride = 2, .pad = 3}},
    {"16x16 patches", 2, 3, 32, 48, 24, 16, {.stride = 16}},
    {"one dim", 3, 4, 1, 37, 6, 5, {.stride = 2, .pad = 2, .one_dim = true}},
    {"one dim, its windows apart", 2, 1, 1, 64, 8, 8, {.stride = 8, .one_dim = true}},
    {"one pixel", 1, 8, 1, 1, 8, 3, {.pad = 1}},
};

class CudaConv : public test::Twin {
 protected:
  // master: dtype of filters' and bias's gradients and of the bias.
  void check(const Case& k, DType dtype, DType master, bool with_bias) {
    SCOPED_TRACE(fmt::format("{}, {} with {}", k.what, name_of(dtype), name_of(master)));
    const Tensor x = random({k.n, k.c, k.h, k.w}, 1, dtype).channels_last();
    const Tensor w = random({k.out, k.c, k.kh(), k.kernel}, 2, dtype), bias = random({k.out}, 3, master);
    const Shape shape{k.n, k.out, k.oh(), k.ow()};
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& y) {
          const Tensor in = at(x), filters = at(w), b = with_bias ? at(bias) : Tensor();
          run<&Table::conv_fwd>({.conv = k.conv, .x = in, .w = filters, .bias = b, .y = y[0]});
        },
        {{shape, dtype, 16 * k.c * k.kh() * k.kernel, true}});
    const Tensor dy = random(shape, 4, dtype).channels_last();
    const std::int64_t terms = k.n * k.oh() * k.ow();
    // cuDNN rounds a bf16 convolution's sums once, whatever they are then stored in (docs/numerics.md): bf16's row
    const std::int64_t of_filters = dtype == DType::bf16 && master == DType::f32 ? std::int64_t{1} << 26 : 16 * terms;
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& g) {
          const Tensor in = at(x), filters = at(w), d = at(dy);
          const View db = with_bias ? g[2].view() : View{};
          run<&Table::conv_bwd>({.conv = k.conv, .x = in, .w = filters, .dy = d, .dx = g[0], .dw = g[1], .db = db});
          if (!with_bias) g[2].fill(0);
        },
        {{x.shape(), dtype, 16 * k.out * k.kh() * k.kernel, true},
         {w.shape(), master, of_filters},
         {{k.out}, master, 16 * terms}});
  }
};

TEST_F(CudaConv, ForwardAndBackward) {
  for (const Case& k : kCases) {
    check(k, DType::f32, DType::f32, false);
    check(k, DType::bf16, DType::f32, true);
    check(k, DType::f64, DType::f64, true);
  }
}

TEST_F(CudaConv, EveryDtypeWithABias) {
  for (const std::size_t i : {0U, 1U, 4U, 8U}) {
    check(kCases[i], DType::f32, DType::f32, true);
    check(kCases[i], DType::bf16, DType::bf16, true);
  }
}

TEST_F(CudaConv, OneGradientAlone) {
  for (const std::size_t i : {0U, 3U, 6U}) {
    const Case& k = kCases[i];
    for (const DType dtype : test::kFloats) {
      SCOPED_TRACE(fmt::format("{}, {}", k.what, name_of(dtype)));
      const Tensor x = random({k.n, k.c, k.h, k.w}, 1, dtype).channels_last();
      const Tensor w = random({k.out, k.c, k.kh(), k.kernel}, 2, dtype);
      const Tensor dy = random({k.n, k.out, k.oh(), k.ow()}, 4, dtype).channels_last();
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& g) {
            const Tensor in = at(x), filters = at(w), d = at(dy);
            run<&Table::conv_bwd>({k.conv, {}, filters, d, g[0], {}, {}});
            run<&Table::conv_bwd>({k.conv, in, filters, d, {}, g[1], {}});
            run<&Table::conv_bwd>({k.conv, in, filters, d, {}, {}, g[2]});
          },
          {{x.shape(), dtype, 16 * k.out * k.kh() * k.kernel, true},
           {w.shape(), dtype, 16 * k.n * k.oh() * k.ow()},
           {{k.out}, dtype, 16 * k.n * k.oh() * k.ow()}});
    }
  }
}

TEST_F(CudaConv, AProductAddsToDx) {
  for (const DType dtype : test::kFloats) {
    for (const Case& k : {Case{"1x1", 2, 16, 7, 5, 24, 1, {}}, Case{"1x1, odd", 3, 7, 5, 3, 9, 1, {}}}) {
      SCOPED_TRACE(fmt::format("{}, {}", k.what, name_of(dtype)));
      const Tensor x = random({k.n, k.c, k.h, k.w}, 1, dtype).channels_last();
      const Tensor w = random({k.out, k.c, 1, 1}, 2, dtype), before = random(x.shape(), 3, dtype).channels_last();
      const Tensor dy = random({k.n, k.out, k.h, k.w}, 4, dtype).channels_last();
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& g) {
            const Tensor in = at(x), filters = at(w), d = at(dy), there = at(before);
            run<&Table::copy>({.x = there, .y = g[0]});
            run<&Table::conv_bwd>(
                {.conv = k.conv, .x = in, .w = filters, .dy = d, .dx = g[0], .dw = g[1], .accumulate_dx = true});
          },
          {{x.shape(), dtype, 16 * k.out, true}, {w.shape(), dtype, 16 * k.n * k.h * k.w}});
    }
  }
}

TEST_F(CudaConv, NothingToConvolve) {
  const Tensor w = random({8, 4, 3, 3}, 2, DType::f32);
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& g) {
        const Tensor filters = at(w), none = at(Tensor::empty({0, 4, 6, 6}, DType::f32).channels_last());
        const Tensor y = at(Tensor::empty({0, 8, 4, 4}, DType::f32).channels_last());
        run<&Table::conv_fwd>({.conv = {}, .x = none, .w = filters, .bias = {}, .y = y});
        run<&Table::conv_bwd>({.conv = {}, .x = none, .w = filters, .dy = y, .dx = {}, .dw = g[0], .db = g[1]});
      },
      {{w.shape(), DType::f32, 1}, {{8}, DType::f32, 1}});
}

// Ten bits of mantissa, on a GPU; the emulator has no such unit and computes in f32.
TEST_F(CudaConv, Tf32IsNearAndCanBeTurnedOff) {
  const Tensor x = random({4, 32, 14, 14}, 1, DType::f32).channels_last(), w = random({64, 32, 3, 3}, 2, DType::f32);
  const auto conv = [&](Device device) {
    const Tensor y = poisoned({{4, 64, 14, 14}, DType::f32, 1, true}, device);
    const Tensor in = x.to(device), filters = w.to(device);
    run<&Table::conv_fwd>({.conv = {.pad = 1}, .x = in, .w = filters, .bias = {}, .y = y});
    return y.to(Device{});
  };
  const Tensor want = conv(Device{});
  allow_tf32(true);
  const Tensor tf32 = conv(test::kGpu);
  allow_tf32(false);
  // sums of 288 products of at most 1: sqrt(288 / 9) is what they are like
  EXPECT_TRUE(test::close(tf32, want, {1e-3, 1e-3 * 5.7}));
  EXPECT_TRUE(test::close(conv(test::kGpu), want, test::tolerance(DType::f32, 16 * 288)));
}

}  // namespace
}  // namespace spn::kernels
