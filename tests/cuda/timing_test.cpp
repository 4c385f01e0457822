// What is queued before work that is timed.
#include "kernels/cuda/timing.h"

#include "engine/core/stopwatch.h"
#include "kernels/timing.h"
#include "tests/cuda/twin.h"

namespace spn::test {
namespace {

class CudaTiming : public Twin {};

TEST_F(CudaTiming, EveryWordIsRead) {
  for (const std::int64_t words : {4, 4096, 50000}) {
    const Tensor found = Tensor::zeros({4}, DType::i32, kGpu), memory = Tensor::zeros({words}, DType::i32, kGpu);
    const auto read = [&](const Tensor& t) {
      kernels::cuda::read_whole(View(t).data, t.bytes(), static_cast<unsigned*>(View(found).data));
      return found.to(Device{}).to_vector<double>()[0];
    };
    EXPECT_EQ(read(memory), 0);
    for (const std::int64_t at : {std::int64_t{0}, words / 2 + 1, words - 1}) {
      std::vector<std::int32_t> v(static_cast<std::size_t>(words), 0);
      v[static_cast<std::size_t>(at)] = 1 << 20;
      EXPECT_EQ(read(Tensor::from(v, {words}, kGpu)), 1) << at << " of " << words;
      found.copy_from(Tensor::zeros({4}, DType::i32));
    }
  }
}

TEST_F(CudaTiming, TheStreamIsHeldAsLongAsAsked) {
  const Tensor x = Tensor::zeros({4}, DType::f32, kGpu);
  const Stopwatch watch;
  kernels::cuda::keep_busy(5e-3);
  x.fill(1);
  EXPECT_EQ(x.to(Device{}).to_vector<float>()[0], 1);
  EXPECT_GE(watch.seconds(), 4.5e-3);  // its clock is not the host's
}

TEST_F(CudaTiming, CountsTheWorkAlone) {
  const Tensor x = Tensor::zeros({1 << 16}, DType::f32, kGpu);
  const double s = kernels::cuda_seconds([&] { x.fill(1); });
  EXPECT_GT(s, 0);
  EXPECT_EQ(x.to(Device{}).to_vector<float>()[77], 1);
}

}  // namespace
}  // namespace spn::test
