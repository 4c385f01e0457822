// What `spotniche bench` times on the device is what was asked for.

#include <cmath>
#include <map>

#include "engine/core/json.h"
#include "launch/bench/loss.h"
#include "launch/bench/profile.h"
#include "tests/cuda/twin.h"

namespace spn::bench {
namespace {

class CudaBench : public test::Twin {};

// Rounded products move the loss by less than their own rounding, and by something.
TEST_F(CudaBench, LossMultipliesInThePrecisionAskedFor) {
  const auto world = dist::make_self();
  const auto loss = [&](DType products) {
    return measure_loss({.global_batch = 96,
                         .width = 40,
                         .products = products,
                         .repeats = 1,
                         .matmul_size = 48,
                         .device = test::kGpu},
                        *world)
        .loss;
  };
  const double exact = loss(DType::f32), rounded = loss(DType::bf16);
  EXPECT_NE(rounded, exact);
  EXPECT_TRUE(std::abs(rounded - exact) <= 1.6e-2 * exact) << rounded << " against " << exact;
}

// Entries by the device's clock: each call once, also those that another entry makes, and nothing from before.
TEST_F(CudaBench, ProfileCountsWhatRanOnTheDevice) {
  const Tensor x = test::random({3, 5}, 1).to(test::kGpu), y = Tensor::empty(x.shape(), x.dtype(), test::kGpu);
  const auto once = [&] { kernels::run<&kernels::Table::unary_fwd>({.op = kernels::UnaryOp::relu, .x = x, .y = y}); };
  once();
  start_profile(test::kGpu);
  for (int i = 0; i < 3; ++i) once();
  start_profile(test::kGpu);
  for (int i = 0; i < 4; ++i) once();
  kernels::run<&kernels::Table::binary>({.op = kernels::BinaryOp::add, .a = x, .b = x, .y = y});
  const std::string text = profile_lines(kernels::profile_stop(), 1, 1, {.copy_gb_per_s = 10, .matmul_gflops = 10});
  once();  // nobody counts any more
  const auto j = parse_json(text.substr(text.find('{')));
  EXPECT_GE(j["outside_entries"].get<double>(), 0);
  std::map<std::string, int> calls;
  for (const auto& e : j["entries"]) {
    calls[e["entry"]] = e["calls"];
    EXPECT_GE(e["ms_a_step"].get<double>(), 0);
  }
  EXPECT_EQ(calls, (std::map<std::string, int>{{"unary_fwd", 4}, {"binary", 1}}));
}

TEST_F(CudaBench, LossTellsWhichKernelsItCalls) {
  const auto world = dist::make_self();
  const LossFigure f = measure_loss(
      {.global_batch = 64, .width = 24, .repeats = 3, .profile = true, .matmul_size = 16, .device = test::kGpu},
      *world);
  const auto j = parse_json(f.profile.substr(f.profile.find('{')));
  std::map<std::string, int> calls;
  for (const auto& e : j["entries"]) calls[e["entry"]] = e["calls"];
  EXPECT_EQ(calls["contrastive_fwd"], 1);
  EXPECT_EQ(calls["contrastive_bwd"], 1);
}

}  // namespace
}  // namespace spn::bench
