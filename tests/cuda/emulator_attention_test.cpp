// Which attention takes the kernel on tensor cores, and which does not: that one alone copies beside arithmetic. Only
// the emulated binary has this file.
#include <cmath>

#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"

namespace spn::kernels {
namespace {

using test::random;

struct Call {
  std::int64_t tq = 20, tk = 70, width = 64;
  double dropout = 0;
  std::int64_t apart = 0;  // elements between heads
  DType dtype = DType::bf16;
};

class AttentionPath : public test::Twin {
 protected:
  // Runs it, holds it against the CPU, and says whether it went over tensor cores.
  bool takes_tensor_cores(const Call& c) {
    const std::int64_t before = emulator::copies_begun(), heads = 2, row = c.width + c.apart;
    const Tensor q = random({1, c.tq, heads, row}, 1, c.dtype), k = random({1, c.tk, heads, row}, 2, c.dtype),
                 v = random({1, c.tk, heads, row}, 3, c.dtype);
    const auto view = [&](const Tensor& t) { return t.narrow(3, c.apart, c.width).transpose(1, 2); };
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          const Tensor qd = at(q), kd = at(k), vd = at(v);
          run<&Table::attention_fwd>(
              {.q = view(qd),
               .k = view(kd),
               .v = view(vd),
               .o = out[0].transpose(1, 2),
               .lse = out[1],
               .scale = 0.1,
               .dropout = {.seed = 5, .step = 1, .layer = 2, .first_sample = 0, .p = c.dropout}});
        },
        {{{1, c.tq, heads, c.width}, c.dtype, 64 * (c.tk + c.width)}, {{1, heads, c.tq}, DType::f32, 2000}});
    return emulator::copies_begun() > before;
  }
};

TEST_F(AttentionPath, LongHeadsOfWholePacks) {
  for (const std::int64_t width : {32, 64}) {
    EXPECT_TRUE(takes_tensor_cores({.width = width}));
    EXPECT_TRUE(takes_tensor_cores({.tq = 9, .tk = 1, .width = width}));
    EXPECT_TRUE(takes_tensor_cores({.width = width, .apart = 8}));  // as slices of a packed qkv
  }
}

TEST_F(AttentionPath, ShortHeadsOfWholePacks) {
  for (const std::int64_t width : {8, 16, 40, 64}) {
    EXPECT_TRUE(takes_tensor_cores({.tq = 8, .tk = 8, .width = width}));
    EXPECT_TRUE(takes_tensor_cores({.tq = 3, .tk = 5, .width = width, .dropout = 0.3}));
  }
  EXPECT_FALSE(takes_tensor_cores({.tq = 8, .tk = 8, .width = 36}));
  EXPECT_FALSE(takes_tensor_cores({.tq = 8, .tk = 8, .width = 32, .dtype = DType::f32}));
}

TEST_F(AttentionPath, AllOthersAreComputedElsewhere) {
  for (const std::int64_t width : {32, 64}) {
    EXPECT_FALSE(takes_tensor_cores({.width = width, .dropout = 0.3}));
    EXPECT_FALSE(takes_tensor_cores({.width = width, .apart = 4}));  // heads begin at 8 bytes
    EXPECT_FALSE(takes_tensor_cores({.width = width, .dtype = DType::f32}));
  }
  EXPECT_FALSE(takes_tensor_cores({.width = 16}));
  EXPECT_FALSE(takes_tensor_cores({.width = 128}));
}

}  // namespace
}  // namespace spn::kernels
