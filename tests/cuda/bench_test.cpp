// What `spotniche bench` times on the device is what was asked for.
#include <cmath>

#include "launch/bench/loss.h"
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

}  // namespace
}  // namespace spn::bench
