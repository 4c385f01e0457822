// Pooling against the CPU: kernels, strides, padding, adaptive cells, channels on and off 16 bytes.
#include <limits>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

struct Case {
  PoolKind kind;
  int kernel, stride, pad;
  std::int64_t h, w, oh, ow;
};
std::int64_t cells(std::int64_t in, int kernel, int stride, int pad) { return (in + 2 * pad - kernel) / stride + 1; }
Case sliding(PoolKind kind, int kernel, int stride, int pad, std::int64_t h, std::int64_t w) {
  return {kind, kernel, stride, pad, h, w, cells(h, kernel, stride, pad), cells(w, kernel, stride, pad)};
}
const Case kCases[] = {sliding(PoolKind::max, 3, 2, 1, 12, 9),
                       sliding(PoolKind::max, 2, 2, 0, 7, 8),
                       sliding(PoolKind::max, 3, 1, 1, 5, 5),
                       sliding(PoolKind::max, 1, 3, 0, 7, 7),
                       sliding(PoolKind::average, 3, 2, 1, 11, 8),
                       sliding(PoolKind::average, 2, 2, 0, 6, 5),
                       {PoolKind::average, 3, 2, 1, 6, 6, 4, 4},  // ceil mode: the last window leaves the image
                       {PoolKind::adaptive_average, 1, 1, 0, 7, 5, 1, 1},
                       {PoolKind::adaptive_average, 1, 1, 0, 7, 5, 3, 2},
                       {PoolKind::adaptive_average, 1, 1, 0, 4, 3, 7, 5}};

class CudaPool : public test::Twin {
 protected:
  void check(const Case& k, std::int64_t n, std::int64_t c, DType dtype, double hole = 0) {
    const Tensor x = random({n, c, k.h, k.w}, 1, dtype).channels_last();
    if (hole != 0) x.select(0, 0).select(1, 2).select(1, 1).fill(hole);
    const Shape out{n, c, k.oh, k.ow};
    std::vector<Out> outs{{out, dtype, 1, true}};
    if (k.kind == PoolKind::max) outs.push_back({out, DType::i32, 1, true});
    const std::vector<Tensor> y = compare_all(
        [&](const auto& at, const std::vector<Tensor>& t) {
          const Tensor in = at(x);
          run<&Table::pool_fwd>({k.kind, k.kernel, k.stride, k.pad, in, t[0], t.size() > 1 ? t[1].view() : View{}});
        },
        outs);
    const Tensor dy = random(out, 2, dtype).channels_last();
    const Tensor index = y.size() > 1 ? y[1] : Tensor();
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& t) {
          const Tensor g = at(dy), i = at(index);
          run<&Table::pool_bwd>({k.kind, k.kernel, k.stride, k.pad, g, i, t[0]});
        },
        {{{n, c, k.h, k.w}, dtype, 9, true}});
  }
};

TEST_F(CudaPool, ForwardAndBackward) {
  for (const Case& k : kCases)
    for (const DType dtype : test::kFloats)
      for (const std::int64_t c : {1, 3, 8, 16, 33}) check(k, 2, c, dtype);
}

TEST_F(CudaPool, MoreThanTheGridHas) {
  for (const DType dtype : test::kFloats) check(kCases[0], 13, 64, dtype);
}

TEST_F(CudaPool, NoImages) {
  for (const Case& k : {kCases[0], kCases[7]}) check(k, 0, 8, DType::f32);
}

TEST_F(CudaPool, InfinityAndNotANumber) {
  check(kCases[0], 2, 8, DType::f32, -std::numeric_limits<double>::infinity());
  // a NaN wins, and its place is kept
  const Tensor x = random({1, 8, 6, 6}, 1, DType::f32).channels_last();
  x.select(2, 2).select(2, 3).fill(std::numeric_limits<double>::quiet_NaN());
  std::vector<std::vector<float>> values;
  std::vector<std::vector<std::int32_t>> places;
  for (const Device device : {Device{}, test::kGpu}) {
    const Tensor y = Tensor::empty_channels_last({1, 8, 3, 3}, DType::f32, device),
                 index = Tensor::empty_channels_last({1, 8, 3, 3}, DType::i32, device);
    run<&Table::pool_fwd>({PoolKind::max, 3, 2, 1, x.to(device), y, index});
    values.push_back(y.to(Device{}).to_vector<float>());
    places.push_back(index.to(Device{}).to_vector<std::int32_t>());
  }
  EXPECT_EQ(places[0], places[1]);
  int found = 0;
  for (std::size_t i = 0; i < values[0].size(); ++i) {
    EXPECT_EQ(values[0][i] != values[0][i], values[1][i] != values[1][i]) << i;
    found += values[1][i] != values[1][i] ? 1 : 0;
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace spn::kernels
