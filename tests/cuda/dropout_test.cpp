// Dropout against the CPU: the same mask, in packs and at odd lengths, for any key and clock.
#include <cstring>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

class CudaDropout : public test::Twin {
 protected:
  void check(const Shape& shape, DType dtype, const DropoutKey& key) {
    const Tensor x = random(shape, 1, dtype);
    compare([&](const auto& at, const Tensor& out) { run<&Table::dropout>({.key = key, .x = at(x), .y = out}); }, shape,
            dtype);
    compare(
        [&](const auto& at, const Tensor& out) {
          out.copy_from(at(x));
          run<&Table::dropout>({.key = key, .x = out, .y = out});
        },
        shape, dtype);
  }
};

TEST_F(CudaDropout, SameMask) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : {1, 2, 3, 4, 5, 8, 31, 64, 257, 1000, 1032})
      for (const double p : {0.0, 0.1, 0.5})
        check({5, n}, dtype,
              {.seed = 0x123456789abcdefULL, .step = 7, .layer = 3, .first_sample = 11, .p = p, .clock = nullptr});
}

TEST_F(CudaDropout, StepsLayersSamplesAndMoreRowsThanThreads) {
  for (const DType dtype : test::kFloats) {
    check({1001, 8}, dtype,
          {.seed = 1, .step = 1LL << 33, .layer = 0xffffffffU, .first_sample = 1LL << 34, .p = 0.3, .clock = nullptr});
    check({1001, 7}, dtype,
          {.seed = ~0ULL, .step = 3, .layer = 9, .first_sample = 0xfffffff0LL, .p = 0.3, .clock = nullptr});
    check({3, 2, 24}, dtype, {.seed = 5, .step = 0, .layer = 0, .first_sample = 0, .p = 0.9, .clock = nullptr});
  }
  check({0, 8}, DType::f32, {.seed = 1, .step = 0, .layer = 0, .first_sample = 0, .p = 0.5, .clock = nullptr});
}

// The clock is read when the kernel runs, from the device's memory, and adds to the key.
TEST_F(CudaDropout, Clock) {
  static_assert(sizeof(BatchClock) == 16);
  const Tensor clock = Tensor::from(std::vector<std::int64_t>{40, 1000}, {2});
  for (const Shape& shape : {Shape{6, 32}, Shape{6, 33}}) {
    const Tensor x = random(shape, 1, DType::f32);
    DropoutKey key{.seed = 3, .step = 2, .layer = 1, .first_sample = 24, .p = 0.4, .clock = nullptr};
    const Tensor with = compare(
        [&](const auto& at, const Tensor& out) {
          const Tensor there = at(clock);
          DropoutKey k = key;
          k.clock = static_cast<const BatchClock*>(there.view().data);
          run<&Table::dropout>({.key = k, .x = at(x), .y = out});
        },
        shape, DType::f32);
    key.step += 40;
    key.first_sample += 1000;
    const Tensor without = Tensor::empty(shape);
    run<&Table::dropout>({.key = key, .x = x, .y = without});
    EXPECT_EQ(with.to_vector<float>(), without.to_vector<float>());
  }
}

TEST_F(CudaDropout, Unaligned) {
  const Tensor x = random({65}, 1, DType::f32);
  const DropoutKey key{.seed = 1, .step = 0, .layer = 0, .first_sample = 0, .p = 0.5, .clock = nullptr};
  compare(
      [&](const auto& at, const Tensor& out) {
        run<&Table::dropout>({.key = key, .x = at(x).narrow(0, 1, 64).reshape({2, 32}), .y = out});
      },
      {2, 32}, DType::f32);
}

TEST_F(CudaDropout, RefusesWhatTheCpuRefuses) {
  const Tensor x = random({4, 8}, 1, DType::f32).to(test::kGpu);
  EXPECT_THROW(run<&Table::dropout>({.key = {.p = 1}, .x = x, .y = x}), Error);
  EXPECT_THROW(run<&Table::dropout>({.key = {.p = 0.5}, .x = x.transpose(0, 1), .y = x.transpose(0, 1)}), Error);
}

}  // namespace
}  // namespace spn::kernels
