// The harness of twin.h, and what it promises.
#include "tests/cuda/twin.h"

#include <cstdlib>
#include <limits>

namespace spn::test {

void Twin::SetUp() {
  if (kernels::cuda_table() != nullptr && device_orders() > 0) return;
  const char* required = std::getenv("SPN_REQUIRE_CUDA");
  if (required != nullptr && *required == '1') FAIL() << "SPN_REQUIRE_CUDA=1, and no CUDA device is usable";
  GTEST_SKIP() << "no CUDA device";
}

Tensor Twin::poisoned(const Out& o, Device device) {
  const double value = is_floating(o.dtype) ? std::numeric_limits<double>::quiet_NaN() : 0x7f;
  const Tensor host = Tensor::full(o.shape, value, o.dtype);
  return (o.channels_last ? host.channels_last() : host).to(device);
}

// What the harness promises: an output that a kernel leaves out is found.
class TwinSelfTest : public Twin {};
TEST_F(TwinSelfTest, TheTableIsComplete) {
  using Entry = void (*)();
  const auto* entries = reinterpret_cast<const Entry*>(kernels::cuda_table());
  for (std::size_t i = 0; i < sizeof(kernels::Table) / sizeof(Entry); ++i)
    EXPECT_NE(entries[i], nullptr) << "entry " << i << " in the order of kernels/table.h";
}
TEST_F(TwinSelfTest, AnUnwrittenOutputFails) {
  const Tensor got = poisoned({Shape{3}, DType::f32}, kGpu).to(Device{});
  EXPECT_FALSE(close(got, Tensor::zeros({3}), {1, 1}).ok);
}

}  // namespace spn::test
