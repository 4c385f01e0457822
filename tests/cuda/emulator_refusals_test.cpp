// What is done where a vendor's library knows no way, or promises one and refuses when it is called: the same results.
#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/vendor.h"

namespace spn::kernels {
namespace {

using cuda::Convolution;
using cuda::Order;
using cuda::Pass;
using cuda::Product;
using emulator::Refusals;
using test::random;

class Refused : public test::Twin {
 protected:
  // A layer's forward and backward in the types that its tensors have, as ops/matmul.cpp asks for them.
  void layer(DType in, DType out, Activation act) {
    const Tensor x = random({33, 7}, 1, in), w = random({5, 7}, 2, in), bias = random({5}, 3, out);
    const Tensor dy = random({33, 5}, 4, in);
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& got) {
          const Tensor a = at(x), b = at(w), z = at(bias), d = at(dy);
          run<&Table::gemm>({.a = a, .b = b.transpose(0, 1), .c = got[0], .bias = z, .act = act});
          got[1].fill(0.5);
          run<&Table::gemm>({.a = a, .b = b.transpose(0, 1), .c = got[1], .accumulate = true});
          run<&Table::gemm>({.a = d.transpose(0, 1), .b = a, .c = got[2], .sums = got[3]});
        },
        {{{33, 5}, out, 16 * 7}, {{33, 5}, out, 16 * 7}, {{5, 7}, out, 16 * 33}, {{5}, out, 16 * 33}});
  }
};

TEST_F(Refused, EpiloguesBecomePassesOfTheirOwn) {
  for (const auto& [in, out] :
       {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}})
    for (const Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
      const Refusals refused([](const Product& p) { return p.biased || p.relu; });
      layer(in, out, act);
      EXPECT_EQ(refused.count, 3);  // one of three products, in each order
    }
}

TEST_F(Refused, Bf16ProductsGoThroughF32) {
  for (const DType out : {DType::bf16, DType::f32}) {
    const Refusals refused([](const Product& p) { return p.in == DType::bf16; });
    layer(DType::bf16, out, Activation::relu);
    EXPECT_GT(refused.count, 0);
  }
  // a batch, one matrix of which is there once
  const Refusals refused([](const Product& p) { return p.in == DType::bf16; });
  const Tensor a = random({3, 2, 17, 9}, 1, DType::bf16), b = random({2, 9, 5}, 2, DType::bf16);
  compare(
      [&](const auto& at, const Tensor& c) {
        const Tensor x = at(a), y = at(b);
        run<&Table::gemm>({.a = x, .b = y, .c = c});
      },
      {3, 2, 17, 5}, DType::bf16, 16 * 9);
  EXPECT_GT(refused.count, 0);
}

TEST_F(Refused, WhatNobodyCanMultiplyIsSaid) {
  const Refusals refused([](const Product&) { return true; });
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor a = random({4, 6}, 1, dtype).to(test::kGpu), b = random({6, 8}, 2, dtype).to(test::kGpu);
    const Tensor c = Tensor::empty({4, 8}, dtype, test::kGpu);
    try {
      run<&Table::gemm>({.a = a, .b = b, .c = c});
      FAIL() << "expected a throw";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("cuBLASLt has no algorithm for " + std::string(name_of(dtype))),
                std::string::npos)
          << e.what();
    }
  }
}

class RefusedConv : public Refused {
 protected:
  void convolution(DType dtype, DType master) {
    const Tensor x = random({2, 3, 9, 8}, 1, dtype).channels_last(), w = random({5, 3, 3, 3}, 2, dtype);
    const Tensor bias = random({5}, 3, master), dy = random({2, 5, 5, 4}, 4, dtype).channels_last();
    const ConvShape conv{.stride = 2, .pad = 1};
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& g) {
          const Tensor in = at(x), filters = at(w), b = at(bias), d = at(dy);
          run<&Table::conv_fwd>({.conv = conv, .x = in, .w = filters, .bias = b, .y = g[0]});
          run<&Table::conv_bwd>({.conv = conv, .x = in, .w = filters, .dy = d, .dx = g[1], .dw = g[2], .db = g[3]});
        },
        {{{2, 5, 5, 4}, dtype, 16 * 27, true},
         {x.shape(), dtype, 16 * 45, true},
         {w.shape(), master, 16 * 40},
         {{5}, master, 16 * 40}});
  }
};

TEST_F(RefusedConv, Bf16GoesThroughF32) {
  for (const bool when_called : {false, true}) {
    const Refusals refused(
        {}, [](const Convolution& p, Pass, Order) { return p.dtype == DType::bf16; }, when_called);
    convolution(DType::bf16, DType::f32);
    convolution(DType::bf16, DType::bf16);
    EXPECT_GT(refused.count, 0);
  }
}

TEST_F(RefusedConv, WithoutAFixedOrderAnyIsTaken) {
  for (const bool when_called : {false, true})
    for (const DType dtype : test::kFloats) {
      const Refusals refused(
          {}, [](const Convolution&, Pass, Order o) { return o == Order::fixed; }, when_called);
      convolution(dtype, dtype);
      EXPECT_GT(refused.count, 0);
    }
}

TEST_F(RefusedConv, WhatNobodyCanConvolveIsSaid) {
  const Refusals refused({}, [](const Convolution&, Pass, Order) { return true; });
  EXPECT_THROW(convolution(DType::bf16, DType::f32), Error);
  EXPECT_THROW(convolution(DType::f64, DType::f64), Error);
}

// Tiles shrink to what a block of the device has; what fits no tile is said.
class LittleSharedMemory : public test::Twin {
 protected:
  void TearDown() override { emulator::set_shared_limit(usual); }
  void attention() {
    const Tensor q = random({2, 2, 40, 96}, 1, DType::f64), k = random({2, 2, 37, 96}, 2, DType::f64);
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          run<&Table::attention_fwd>(
              {.q = at(q), .k = at(k), .v = at(k), .o = out[0], .lse = out[1], .scale = 0.1, .dropout = {}});
        },
        {{q.shape(), DType::f64, 64 * 133}, {{2, 2, 40}, DType::f64, 64 * 133}});
  }
  const std::size_t usual = emulator::shared_limit();
};

TEST_F(LittleSharedMemory, AttentionTakesSmallerTiles) {
  for (const std::size_t kib : {163, 99, 48}) {
    emulator::set_shared_limit(kib << 10);
    attention();
  }
  emulator::set_shared_limit(4 << 10);
  try {
    attention();
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("4096 bytes of shared memory"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace spn::kernels
