// Rows by index against the CPU, and what an index outside its rows gives.
#include <cmath>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

Tensor index_of(std::int64_t n, std::int64_t rows, std::int64_t factor = 7919) {
  std::vector<std::int64_t> i;
  for (std::int64_t k = 0; k < n; ++k) i.push_back(k * factor % rows);
  return Tensor::from(i, {n});
}

class CudaIndex : public test::Twin {
 protected:
  void both(const Shape& row, DType dtype, std::int64_t rows, const Tensor& index) {
    Shape all{rows}, few{index.dim(0)};
    for (const std::int64_t e : row) {
      all.push_back(e);
      few.push_back(e);
    }
    const Tensor x = random(all, 1, DType::f64, 0, 100).to(dtype);
    compare([&](const auto& at,
                const Tensor& out) { run<&Table::gather_rows>({.x = at(x), .index = at(index), .y = out}); },
            few, dtype);
    if (!is_floating(dtype)) return;
    const Tensor g = random(few, 2, dtype);
    compare([&](const auto& at,
                const Tensor& out) { run<&Table::scatter_add_rows>({.x = at(g), .index = at(index), .y = out}); },
            all, dtype, index.dim(0));
  }
};

TEST_F(CudaIndex, GatherAndScatter) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8})
    for (const std::int64_t n : {1, 3, 7, 16, 33, 257, 1100}) both({n}, dtype, 5, index_of(9, 5));
}

TEST_F(CudaIndex, ManyIndicesOfFewRowsAndFewOfMany) {
  for (const DType dtype : test::kFloats) {
    both({3, 8}, dtype, 3, index_of(700, 3, 5));
    both({8}, dtype, 200, index_of(17, 200));
    both({}, dtype, 10, index_of(33, 10));
    both({8}, dtype, 2, index_of(300, 1));  // all of them the same row
  }
}

TEST_F(CudaIndex, NoIndexAndNoColumns) {
  for (const DType dtype : test::kFloats) {
    both({8}, dtype, 4, Tensor::empty({0}, DType::i64));
    both({0}, dtype, 4, index_of(3, 4));
  }
}

// The sums are added in order of the index: the same bits as the CPU's.
TEST_F(CudaIndex, OrderOfSums) {
  const Tensor g = random({600, 40}, 3, DType::f32), index = index_of(600, 7, 3);
  const Tensor cpu = Tensor::empty({7, 40}), cuda = Tensor::empty({7, 40}, DType::f32, test::kGpu);
  run<&Table::scatter_add_rows>({.x = g, .index = index, .y = cpu});
  run<&Table::scatter_add_rows>({.x = g.to(test::kGpu), .index = index.to(test::kGpu), .y = cuda});
  EXPECT_EQ(cuda.to_vector<float>(), cpu.to_vector<float>());
}

TEST_F(CudaIndex, OutsideItsRowsIsNaN) {
  const Tensor index = Tensor::from(std::vector<std::int64_t>{1, 5, 0, -1}, {4}).to(test::kGpu);
  for (const DType dtype : test::kFloats)
    for (const std::int64_t n : {4, 5}) {
      const Tensor x = random({5, n}, 1, dtype).to(test::kGpu), y = Tensor::zeros({4, n}, dtype, test::kGpu);
      run<&Table::gather_rows>({.x = x, .index = index, .y = y});
      const std::vector<double> got = y.to(Device{}).to(DType::f64).to_vector<double>();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(n);
        EXPECT_EQ(std::isnan(got[i]), row == 1 || row == 3) << i;
      }
      const Tensor all = Tensor::zeros({5, n}, dtype, test::kGpu);
      run<&Table::scatter_add_rows>({.x = y, .index = index, .y = all});
      for (const double v : all.to(Device{}).to(DType::f64).to_vector<double>()) EXPECT_TRUE(std::isnan(v));
    }
}

}  // namespace
}  // namespace spn::kernels
