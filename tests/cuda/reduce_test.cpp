// Sums, means and maxima against the CPU: rows, columns, everything, any strides, few outputs of many terms.
#include <algorithm>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

constexpr ReduceKind kKinds[] = {ReduceKind::sum, ReduceKind::mean, ReduceKind::max};

class CudaReduce : public test::Twin {
 protected:
  // Both reduce view(x) over the dims where `to` has extent 1.
  template <class F>
  void check(const Tensor& x, const Shape& to, F&& view) {
    for (const ReduceKind kind : kKinds) {
      const std::int64_t terms = to.numel() == 0 ? 1 : view(x).numel() / to.numel();
      if (kind == ReduceKind::max && terms == 0) continue;
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::reduce>({kind, view(at(x)), out});
          },
          to, x.dtype(), terms);
      if (x.dtype() == DType::bf16)
        compare(
            [&](const auto& at, const Tensor& out) {
              run<&Table::reduce>({kind, view(at(x)), out});
            },
            to, DType::f32, terms);
    }
  }
  void check(const Tensor& x, const Shape& to) {
    check(x, to, [](const Tensor& t) { return t; });
  }
};

TEST_F(CudaReduce, Rows) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : {1, 7, 16, 17, 31, 32, 64, 257, 1000, 1024, 1032, 4099})
      check(random({5, n}, 1, dtype), {5, 1});
}

TEST_F(CudaReduce, ColumnsAsOfABias) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : {1, 3, 8, 33, 256, 264, 600})
      for (const std::int64_t rows : {1, 7, 33, 700}) check(random({rows, n}, 2, dtype), {1, n});
}

TEST_F(CudaReduce, ManyRowsOfColumnsAreSharedByBlocks) {
  for (const DType dtype : test::kFloats) {
    check(random({5001, 8}, 3, dtype), {1, 8});
    check(random({5001, 5}, 3, dtype), {1, 5});
    check(random({2, 2600, 8}, 3, dtype), {2, 1, 8});
  }
}

TEST_F(CudaReduce, EverythingToOneNumber) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : {1, 100, 8192, 20001, 40000}) check(random({n}, 4, dtype), {1});
  check(random({2, 50000}, 4), {2, 1});
}

TEST_F(CudaReduce, AnySubsetOfDims) {
  for (const DType dtype : test::kFloats) {
    const Tensor x = random({3, 5, 18, 16}, 5, dtype);
    for (int kept = 0; kept < 16; ++kept) {
      Shape to = x.shape();
      for (int d = 0; d < 4; ++d)
        if ((kept >> d & 1) == 0) to[d] = 1;
      check(x, to);
      check(x, Shape{to[2], to[1], to[0], to[3]}, [](const Tensor& t) { return t.transpose(0, 2); });
    }
  }
}

TEST_F(CudaReduce, ChannelsLastBroadcastAndUnaligned) {
  for (const DType dtype : test::kFloats) {
    check(random({2, 9, 6, 7}, 6, dtype), {1, 9, 1, 1}, [](const Tensor& t) { return t.channels_last(); });
    check(random({2, 9, 6, 7}, 6, dtype), {2, 9, 1, 1}, [](const Tensor& t) { return t.channels_last(); });
    check(random({1, 40}, 7, dtype), {1, 40}, [](const Tensor& t) { return t.expand({21, 40}); });
    check(random({4, 1}, 7, dtype), {4, 1}, [](const Tensor& t) { return t.expand({4, 90}); });
    check(random({101, 33}, 8, dtype), {100, 1}, [](const Tensor& t) { return t.narrow(0, 1, 100); });
    check(random({100, 40}, 8, dtype), {1, 32}, [](const Tensor& t) { return t.narrow(1, 3, 32); });
    check(random({100, 40}, 8, dtype), {100, 1}, [](const Tensor& t) { return t.narrow(1, 3, 32); });
  }
}

TEST_F(CudaReduce, IntoAViewWithGaps) {
  const Tensor x = random({70, 24}, 9, DType::f32);
  compare(
      [&](const auto& at, const Tensor& out) {
        out.fill(0);
        run<&Table::reduce>({ReduceKind::sum, at(x), out.narrow(1, 2, 1).transpose(0, 1)});
      },
      {24, 5}, DType::f32, 70);
}

TEST_F(CudaReduce, NothingToAddIsZero) {
  for (const Shape& shape : {Shape{0, 4}, Shape{4, 0}}) {
    const Tensor x = Tensor::empty(shape);
    for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::max}) {
      const std::int64_t kept = shape[0] == 0 ? 0 : 1;
      if (kind == ReduceKind::max && kept == 1) continue;
      compare(
          [&](const auto& at, const Tensor& out) {
            run<&Table::reduce>({kind, at(x), out});
          },
          kept == 1 ? Shape{4, 1} : Shape{0, 1}, DType::f32);
    }
  }
  const Tensor x = Tensor::empty({0, 4});
  compare(
      [&](const auto& at, const Tensor& out) {
        run<&Table::reduce>({ReduceKind::sum, at(x), out});
      },
      {1, 4}, DType::f32);
}

// NaN enters sums and does not enter maxima, on both devices.
TEST_F(CudaReduce, NotANumber) {
  Tensor x = random({40, 64}, 10, DType::f32);
  x.select(0, 3).select(0, 5).fill(std::numeric_limits<double>::quiet_NaN());
  for (const Shape& to : {Shape{40, 1}, Shape{1, 64}, Shape{1, 1}}) {
    compare(
        [&](const auto& at, const Tensor& out) {
          run<&Table::reduce>({ReduceKind::max, at(x), out});
        },
        to, DType::f32);
    const Tensor cuda = Tensor::empty(to, DType::f32, test::kGpu), cpu = Tensor::empty(to);
    run<&Table::reduce>({ReduceKind::sum, x.to(test::kGpu), cuda});
    run<&Table::reduce>({ReduceKind::sum, x, cpu});
    const std::vector<float> got = cuda.to_vector<float>(), want = cpu.to_vector<float>();
    EXPECT_EQ(std::count_if(want.begin(), want.end(), [](float v) { return v != v; }), 1);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[i] != got[i], want[i] != want[i]) << i;
  }
}

}  // namespace
}  // namespace spn::kernels
