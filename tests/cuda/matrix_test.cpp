// Views as BLAS sees them: whatever description is found must lead to the same elements.
#include "kernels/cuda/lib/matrix.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/tensors.h"

namespace spn::kernels::cuda {
namespace {

using test::random;

// Elements from the start of v, in row-major order: by its strides, and by the description.
std::vector<std::int64_t> by_strides(const View& v) {
  std::vector<std::int64_t> at;
  const std::int64_t n = v.numel();
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t rest = i, offset = 0;
    for (int d = v.ndim() - 1; d >= 0; --d) {
      offset += rest % v.dim(d) * v.strides[d];
      rest /= v.dim(d);
    }
    at.push_back(offset);
  }
  return at;
}
std::vector<std::int64_t> by_matrix(const View& v, const Matrix& m) {
  std::vector<std::int64_t> at;
  for (std::int64_t b = 0; b < batch_of(v); ++b)
    for (std::int64_t i = 0; i < v.dim(-2); ++i)
      for (std::int64_t j = 0; j < v.dim(-1); ++j)
        at.push_back(b * m.batch_stride + (m.transposed ? j * m.ld + i : i * m.ld + j));
  return at;
}

TEST(Matrix, LeadsToTheSameElements) {
  int found = 0, refused = 0;
  const auto look = [&](const Tensor& t, const char* what) {
    if (const auto m = matrix_of(t)) {
      ++found;
      EXPECT_EQ(by_matrix(t, *m), by_strides(t)) << what;
      EXPECT_GE(m->ld, m->transposed ? t.dim(-2) : t.dim(-1)) << what;  // BLAS asks for that
    } else {
      ++refused;
    }
  };
  const Tensor x = random({2, 3, 4, 5}, 1);
  look(x, "contiguous");
  look(x.transpose(2, 3), "transposed");
  look(x.transpose(1, 2), "heads from packed rows: batch dims that do not join");
  look(x.transpose(1, 2).narrow(0, 0, 1), "heads of one sample");
  look(x.narrow(3, 1, 2), "columns of wider rows");
  look(x.narrow(2, 1, 2), "rows of taller matrices");
  look(x.narrow(1, 0, 2), "a part of the batch");
  look(x.select(0, 1), "one batch dim");
  look(x.select(0, 1).select(0, 2), "a plain matrix");
  look(x.narrow(2, 0, 1), "one row each");
  look(x.narrow(3, 0, 1), "one column each");
  look(x.select(2, 0).unsqueeze(2), "one row, added");
  look(random({1, 1}, 2), "one element");
  look(random({4, 5}, 3).unsqueeze(0).expand({6, 4, 5}), "one matrix for all");
  look(random({1, 5}, 4).expand({4, 5}), "a row that repeats");
  EXPECT_GE(found, 11);
  EXPECT_GE(refused, 2);  // those go through a copy
}

TEST(Matrix, MissingLeadingDimsRepeat) {
  const Tensor w = random({5, 7}, 1), c = random({2, 3, 4, 7}, 2), per = random({3, 5, 7}, 3);
  const View r = repeated_like(w, c);
  EXPECT_EQ(r.shape, (Shape{2, 3, 5, 7}));
  EXPECT_EQ(r.strides, (Shape{0, 0, 7, 1}));
  const View p = repeated_like(per, c);
  EXPECT_EQ(p.shape, (Shape{2, 3, 5, 7}));
  EXPECT_EQ(p.strides, (Shape{0, 35, 7, 1}));
  const auto m = matrix_of(r);
  ASSERT_TRUE(m.has_value());
  EXPECT_EQ(m->batch_stride, 0);
  EXPECT_FALSE(matrix_of(p).has_value());  // repeats in one batch dim, steps in the other
}

TEST(Matrix, BatchesBecomeRowsUnderOneMatrix) {
  const Tensor x = random({2, 3, 4, 5}, 1), y = random({2, 3, 4, 7}, 2), w = random({5, 7}, 3);
  View a = x, c = y;
  batch_to_rows(a, repeated_like(w, c), c);
  EXPECT_EQ(a.shape, (Shape{1, 1, 24, 5}));
  EXPECT_EQ(c.shape, (Shape{1, 1, 24, 7}));
  EXPECT_EQ(by_strides(a), by_strides(x));
  // only what steps on like rows joins
  View gap = x.narrow(2, 0, 3), to = y.narrow(2, 0, 3);
  batch_to_rows(gap, repeated_like(w, to), to);
  EXPECT_EQ(gap.shape, (Shape{2, 3, 3, 5}));
  // many matrices stay many
  View many = x, out = y;
  batch_to_rows(many, random({2, 3, 5, 7}, 4), out);
  EXPECT_EQ(many.shape, (Shape{2, 3, 4, 5}));
}

}  // namespace
}  // namespace spn::kernels::cuda
