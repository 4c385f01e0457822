// Times the tiny model's ResNet (bottlenecks 1-1-1-1, first width 16, cifar stem) and each of its convolutions, in CPU
// time of the process, the least of several rounds. Not a test; its peer is launch/bench/torch_resnet.py:
//   OMP_NUM_THREADS=1 build/test_engine_ops --gtest_also_run_disabled_tests --gtest_filter='*ResNetBench*'
#include <gtest/gtest.h>

#include <ctime>

#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/pool.h"
#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

double cpu_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double best_of(int rounds, const std::function<void()>& f) {
  f();
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    const double start = cpu_ms();
    f();
    best = std::min(best, cpu_ms() - start);
  }
  return best;
}

struct Layer {
  Var w, gain, shift;
  Tensor mean, var;
  Layer(std::int64_t out, std::int64_t in, std::int64_t k)
      : w(random({out, in, k, k}, 1, DType::f32, -0.1, 0.1), true),
        gain(Tensor::full({out}, 1), true),
        shift(Tensor::zeros({out}), true),
        mean(Tensor::zeros({out})),
        var(Tensor::full({out}, 1)) {}
  Var operator()(const Var& x, int stride, int pad, bool relu, const Var& residual = {}) const {
    ops::BatchNorm o;
    o.relu = relu;
    return ops::batch_norm(ops::conv2d(x, w, {}, stride, pad), gain, shift, mean, var, o, residual);
  }
};

TEST(ResNetBench, DISABLED_ForwardAndBackward) {
  struct Block {
    Layer a, b, c, skip;
    int stride;
  };
  const Layer stem(16, 3, 3);
  std::vector<Block> blocks;
  std::int64_t in = 16;
  for (const std::int64_t w : {16, 32, 64, 128}) {
    blocks.push_back({{w, in, 1}, {w, w, 3}, {4 * w, w, 1}, {4 * w, in, 1}, w == 16 ? 1 : 2});
    in = 4 * w;
  }
  const Var x(random({128, 3, 32, 32}, 1, DType::f32).channels_last());
  const Tensor dy = random({128, 512}, 2, DType::f32);
  double forward = 1e30;
  const double total = best_of(12, [&] {
    const double start = cpu_ms();
    Var y = stem(x, 1, 1, true);
    for (const Block& b : blocks) {
      const Var inner = b.b(b.a(y, 1, 0, true), b.stride, 1, true);
      y = b.c(inner, 1, 0, true, b.skip(y, b.stride, 0, false));
    }
    y = ops::global_avg_pool(y);
    forward = std::min(forward, cpu_ms() - start);
    backward({y}, {dy});
  });
  std::printf("forward %.0f total %.0f ms\n", forward, total);
}

TEST(ResNetBench, DISABLED_Convolutions) {
  using kernels::run;
  using kernels::Table;
  struct Case {
    std::int64_t c, side, o, k;
    int stride;
  };
  const std::vector<Case> cases = {{3, 32, 16, 3, 1},   {16, 32, 16, 1, 1},  {16, 32, 16, 3, 1},  {16, 32, 64, 1, 1},
                                   {64, 32, 32, 1, 1},  {32, 32, 32, 3, 2},  {32, 16, 128, 1, 1}, {64, 32, 128, 1, 2},
                                   {128, 16, 64, 1, 1}, {64, 16, 64, 3, 2},  {64, 8, 256, 1, 1},  {128, 16, 256, 1, 2},
                                   {256, 8, 128, 1, 1}, {128, 8, 128, 3, 2}, {128, 4, 512, 1, 1}, {256, 8, 512, 1, 2}};
  for (const Case& s : cases) {
    const kernels::ConvShape conv{s.stride, static_cast<int>(s.k / 2)};
    const std::int64_t side = (s.side + 2 * conv.pad - s.k) / s.stride + 1;
    const Tensor x = random({128, s.c, s.side, s.side}, 1, DType::f32).channels_last();
    const Tensor w = random({s.o, s.c, s.k, s.k}, 2, DType::f32);
    const Tensor y = random({128, s.o, side, side}, 3, DType::f32).channels_last();
    const Tensor out = Tensor::empty_like(y), dx = Tensor::empty_like(x), dw = Tensor::empty_like(w);
    const double gflop = 2e-9 * static_cast<double>(y.numel() * s.c * s.k * s.k);
    const double bytes = 4e-6 * static_cast<double>(x.numel() + y.numel());
    const double f = best_of(9, [&] { run<&Table::conv_fwd>({.conv = conv, .x = x, .w = w, .y = out}); });
    const double d = best_of(9, [&] { run<&Table::conv_bwd>({.conv = conv, .x = x, .w = w, .dy = y, .dx = dx}); });
    const double g = best_of(9, [&] { run<&Table::conv_bwd>({.conv = conv, .x = x, .w = w, .dy = y, .dw = dw}); });
    std::printf(
        "%3d x %2d -> %3d k %d s %d: %.3f GFLOP %4.1f MB; ms (GFLOP/s): y %5.2f (%3.0f) dx %5.2f (%3.0f) "
        "dw %5.2f (%3.0f)\n",
        static_cast<int>(s.c), static_cast<int>(s.side), static_cast<int>(s.o), static_cast<int>(s.k), s.stride, gflop,
        bytes, f, 1e3 * gflop / f, d, 1e3 * gflop / d, g, 1e3 * gflop / g);
  }
}

}  // namespace
}  // namespace spn::test
