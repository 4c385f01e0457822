// Convolutions against PyTorch, against differences in double, strided, empty, and in bf16.
#include "engine/ops/conv.h"

#include <gtest/gtest.h>

#include "engine/ops/elementwise.h"
#include "kernels/profile.h"
#include "kernels/table.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using Convolution = Var (*)(const Var&, const Var&, const Var&, int, int);

// A sum that cancels is off by what its terms, of about 1, were rounded by.
Tolerance of_sum(DType t, std::int64_t n) {
  Tolerance r = tolerance(t, n);
  r.absolute += r.relative * (t == DType::bf16 ? 0.1 * std::sqrt(static_cast<double>(n)) : 1);
  return r;
}

struct Result {
  Tensor y, dx, dw, db;
};

Result run(Convolution f, const Tensor& x, const Tensor& w, const Tensor& b, int stride, int pad, const Tensor& dy) {
  const Var vx(x, true), vw(w, true), vb = b ? Var(b, true) : Var();
  const Var y = f(vx, vw, vb, stride, pad);
  backward({y}, {dy});
  return {y.value(), vx.grad(), vw.grad(), b ? vb.grad() : Tensor()};
}

void against_golden(const char* family, Convolution f) {
  const Golden golden(family);
  ASSERT_GT(golden.cases().size(), 3U);
  for (const std::string& name : golden.cases()) {
    SCOPED_TRACE(name);
    const auto get = [&](const char* what) { return golden.tensor(name + "." + what); };
    const Tensor w = get("weight"), b = golden.has(name + ".bias") ? get("bias") : Tensor(), y = get("y");
    const Result r =
        run(f, get("x"), w, b, static_cast<int>(get("stride").item()), static_cast<int>(get("pad").item()), get("gy"));
    const std::int64_t products = w.numel() / w.dim(0), positions = y.numel() / y.dim(1);
    EXPECT_TRUE(close(r.y, y, of_sum(DType::f32, products)));
    EXPECT_TRUE(close(r.dx, get("grad_x"), of_sum(DType::f32, products * w.dim(0))));
    const Compared dw = close(r.dw, get("grad_weight"), of_sum(DType::f32, positions));
    EXPECT_TRUE(dw) << dw;
    if (b) {
      EXPECT_TRUE(close(r.db, get("grad_bias"), of_sum(DType::f32, positions)));
    }
  }
}

TEST(Conv, AgreesWithPyTorch2d) { against_golden("conv2d", ops::conv2d); }
TEST(Conv, AgreesWithPyTorch1d) { against_golden("conv1d", ops::conv1d); }

struct Sizes {
  Shape x, w;
  int stride, pad;
};
const std::vector<Sizes> kSizes = {
    {{2, 3, 5, 4}, {4, 3, 3, 3}, 1, 1},   {{1, 2, 7, 6}, {3, 2, 3, 3}, 2, 1}, {{2, 5, 3, 3}, {4, 5, 1, 1}, 1, 0},
    {{2, 3, 5, 5}, {2, 3, 1, 1}, 2, 0},   {{1, 1, 4, 9}, {1, 1, 4, 2}, 1, 0}, {{2, 3, 8, 4}, {3, 3, 4, 4}, 4, 0},
    {{1, 17, 3, 3}, {3, 17, 3, 3}, 1, 2},
};

TEST(Conv, GradientsAgreeWithDifferences) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(s.x.str() + " * " + s.w.str());
    EXPECT_TRUE(gradcheck([&](const std::vector<Var>& v) { return ops::conv2d(v[0], v[1], v[2], s.stride, s.pad); },
                          {random(s.x, 1), random(s.w, 2), random({s.w[0]}, 3)}));
    EXPECT_TRUE(gradcheck([&](const std::vector<Var>& v) { return ops::conv2d(v[0], v[1], {}, s.stride, s.pad); },
                          {random(s.x, 1), random(s.w, 2)}));
  }
  EXPECT_TRUE(gradcheck([](const std::vector<Var>& v) { return ops::conv1d(v[0], v[1], v[2], 2, 1); },
                        {random({2, 3, 8}, 1), random({4, 3, 3}, 2), random({4}, 3)}));
}

// oneDNN against the plain f64 loops, on the shapes of the model and on odd ones, in f32 and bf16.
TEST(Conv, LowPrecisionAgreesWithF64) {
  std::vector<Sizes> all = kSizes;
  all.push_back({{4, 16, 8, 8}, {16, 16, 3, 3}, 1, 1});
  all.push_back({{4, 32, 8, 8}, {32, 32, 3, 3}, 2, 1});
  all.push_back({{4, 64, 6, 6}, {16, 64, 1, 1}, 1, 0});
  all.push_back({{4, 64, 8, 8}, {128, 64, 1, 1}, 2, 0});
  all.push_back({{3, 3, 11, 9}, {16, 3, 3, 3}, 1, 1});
  all.push_back({{5, 33, 3, 3}, {65, 33, 1, 1}, 1, 0});
  // by columns where there is no AVX-512: several parts and a rest, borders, strides, no padding, a wide kernel
  all.push_back({{3, 32, 31, 29}, {33, 32, 3, 3}, 1, 1});
  all.push_back({{5, 40, 23, 17}, {36, 40, 3, 3}, 2, 1});
  all.push_back({{2, 32, 9, 7}, {32, 32, 3, 3}, 3, 0});
  all.push_back({{2, 32, 5, 6}, {32, 32, 5, 5}, 2, 2});
  all.push_back({{7, 48, 9, 9}, {64, 48, 1, 1}, 2, 0});
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const Sizes& s : all) {
      SCOPED_TRACE(std::string(name_of(t)) + s.x.str() + " * " + s.w.str());
      const Tensor x = random(s.x, 1, t), w = random(s.w, 2, t), b = random({s.w[0]}, 3, t);
      const Shape out = ops::conv2d(Var(x), Var(w), {}, s.stride, s.pad).shape();
      const Tensor dy = random(out, 4, t);
      const auto f64 = [](const Tensor& v) { return v.to(DType::f64); };
      const Result got = run(ops::conv2d, x, w, b, s.stride, s.pad, dy),
                   want = run(ops::conv2d, f64(x), f64(w), f64(b), s.stride, s.pad, f64(dy));
      const std::int64_t products = s.w.numel() / s.w[0], positions = out.numel() / out[1];
      EXPECT_TRUE(close(got.y, want.y, of_sum(t, products)));
      EXPECT_TRUE(close(got.dx, want.dx, of_sum(t, products * s.w[0])));
      EXPECT_TRUE(close(got.dw, want.dw, of_sum(t, positions)));
      EXPECT_TRUE(close(got.db, want.db, of_sum(t, positions)));
      // without a bias another kernel may run
      const Result plain = run(ops::conv2d, x, w, {}, s.stride, s.pad, dy),
                   want_plain = run(ops::conv2d, f64(x), f64(w), {}, s.stride, s.pad, f64(dy));
      EXPECT_TRUE(close(plain.y, want_plain.y, of_sum(t, products)));
      EXPECT_TRUE(close(plain.dx, want_plain.dx, of_sum(t, products * s.w[0])));
      EXPECT_TRUE(close(plain.dw, want_plain.dw, of_sum(t, positions)));
    }
  }
}

TEST(Conv, StridedInputsGiveTheSame) {
  const Tensor x = random({2, 3, 6, 5}, 1, DType::f32), w = random({4, 3, 3, 3}, 2, DType::f32);
  const Tensor b = random({4}, 3, DType::f32), dy = random({2, 4, 6, 5}, 4, DType::f32);
  const Result want = run(ops::conv2d, x, w, b, 1, 1, dy);
  const Result got = run(ops::conv2d, strided_copy(x), strided_copy(w), strided_copy(b), 1, 1, strided_copy(dy));
  const Tolerance exact{0, 0};
  EXPECT_TRUE(close(got.y, want.y, exact));
  EXPECT_TRUE(close(got.dx, want.dx, exact));
  EXPECT_TRUE(close(got.dw, want.dw, exact));
  EXPECT_TRUE(close(got.db, want.db, exact));
  EXPECT_TRUE(got.y.is_channels_last());
}

TEST(Conv, EmptyBatchHasZeroWeightGradients) {
  for (const DType t : {DType::f32, DType::f64}) {
    const Result r = run(ops::conv2d, Tensor::empty({0, 3, 6, 5}, t), random({4, 3, 3, 3}, 2, t), random({4}, 3, t), 1,
                         1, Tensor::empty({0, 4, 6, 5}, t));
    EXPECT_EQ(r.y.shape(), (Shape{0, 4, 6, 5}));
    EXPECT_EQ(r.dx.shape(), (Shape{0, 3, 6, 5}));
    EXPECT_TRUE(close(r.dw, Tensor::zeros({4, 3, 3, 3}, t), {0, 0}));
    EXPECT_TRUE(close(r.db, Tensor::zeros({4}, t), {0, 0}));
  }
}

TEST(Conv, GradientsOnlyWhereWanted) {
  const Tensor x = random({2, 3, 6, 5}, 1, DType::f32), w = random({4, 3, 3, 3}, 2, DType::f32);
  const Tensor dy = random({2, 4, 6, 5}, 4, DType::f32);
  const Result all = run(ops::conv2d, x, w, {}, 1, 1, dy);
  const Var leaf(w, true), image(x);
  backward({ops::conv2d(image, leaf, {}, 1, 1)}, {dy});
  EXPECT_FALSE(image.grad());
  EXPECT_TRUE(close(leaf.grad(), all.dw, {0, 0}));
  const Var moving(x, true), frozen(w);
  backward({ops::conv2d(moving, frozen, {}, 1, 1)}, {dy});
  EXPECT_FALSE(frozen.grad());
  EXPECT_TRUE(close(moving.grad(), all.dx, {0, 0}));
}

void expect_error(const std::function<void()>& f, const std::vector<std::string>& words) {
  try {
    f();
    FAIL() << "expected an error";
  } catch (const Error& e) {
    for (const auto& w : words) EXPECT_NE(std::string(e.what()).find(w), std::string::npos) << e.what();
  }
}

// x's gradient through a shortcut is there first; the product adds to it, where nobody else sees it.
TEST(Conv, AProductAddsToTheGradientOfAShortcut) {
  const auto adds = [](const Tensor& x, const Tensor& w, const std::function<Var(const Var&)>& shortcut) {
    const Var vx(x, true), vw(w, true);
    const Var product = ops::conv2d(vx, vw, {}, 1, (static_cast<int>(w.dim(2)) - 1) / 2);
    const Var y = ops::add(product, shortcut(vx));  // recorded later, so gone through first
    const Tensor dy = random(y.shape(), 4, x.dtype()).channels_last();
    kernels::profile_start();
    backward({y}, {dy});
    long binary = 0;
    for (const auto& row : kernels::profile_stop()) binary += row.entry == "binary" ? row.calls : 0;
    return std::pair(std::vector{vx.grad(), vw.grad()}, binary);
  };
  const auto thrice = [](const Var& x) { return ops::affine(x, 3); };
  const auto itself = [](const Var& x) { return x; };
  for (const DType t : {DType::f32, DType::bf16, DType::f64}) {
    for (const Shape& s : {Shape{2, 5, 3, 3}, Shape{3, 64, 7, 5}}) {
      SCOPED_TRACE(std::string(name_of(t)) + " " + s.str());
      const Tensor x = random(s, 1, t).channels_last(), w = random({s[1], s[1], 1, 1}, 2, t);
      const auto [got, sums] = adds(x, w, thrice);
      EXPECT_EQ(sums, 0);
      const auto [want, of_double] = adds(x.to(DType::f64), w.to(DType::f64), thrice);
      EXPECT_TRUE(close(got[0], want[0], of_sum(t, s[1])));
      EXPECT_TRUE(close(got[1], want[1], of_sum(t, s[0] * s[2] * s[3])));
      // x + conv(x): the shortcut's gradient is the product's dy
      const auto [shared, sums_of_shared] = adds(x, w, itself);
      EXPECT_EQ(sums_of_shared, 1);
      const auto [want_shared, same] = adds(x.to(DType::f64), w.to(DType::f64), itself);
      EXPECT_TRUE(close(shared[0], want_shared[0], of_sum(t, s[1])));
      EXPECT_TRUE(close(shared[1], want_shared[1], of_sum(t, s[0] * s[2] * s[3])));
      // 3x3 is no product
      EXPECT_EQ(adds(x, random({s[1], s[1], 3, 3}, 2, t), thrice).second, 1);
    }
  }
  EXPECT_TRUE(gradcheck(
      [](const std::vector<Var>& v) {
        const Var y = ops::conv2d(v[0], v[1], {});
        return ops::add(y, ops::square(v[0]));
      },
      {random({2, 3, 4, 3}, 1), random({3, 3, 1, 1}, 2)}));
}

TEST(Conv, OnlyProductsAddToAGradient) {
  const Tensor x = random({1, 2, 4, 4}, 1).channels_last(), w = random({2, 2, 1, 1}, 2), dx = Tensor::empty_like(x);
  const kernels::ConvBwd strided{.conv = {2, 0}, .x = x, .w = w, .dy = x, .dx = dx, .accumulate_dx = true};
  expect_error([&] { kernels::run<&kernels::Table::conv_bwd>(strided); }, {"[conv_bwd]", "1x1", "stride 2"});
}

TEST(Conv, ErrorsExplain) {
  const Var x(random({2, 3, 6, 5}, 1)), w(random({4, 3, 3, 3}, 2)), b(random({4}, 3));
  expect_error(
      [&] {
        ops::conv2d(x, Var(random({4, 2, 3, 3}, 1)), {});
      },
      {"[conv2d]", "[-1, 3, -1, -1]", "[4, 2, 3, 3]"});
  expect_error([&] { ops::conv2d(x, w, Var(random({5}, 1))); }, {"[conv2d]", "bias", "[4]", "[5]"});
  expect_error([&] { ops::conv2d(x, w, {}, 0); }, {"[conv2d]", "stride"});
  expect_error(
      [&] {
        ops::conv2d(x, Var(random({4, 3, 7, 3}, 1)), {});
      },
      {"[conv2d]", "at least as large", "[4, 3, 7, 3]"});
  expect_error([&] { ops::conv2d(Var(random({3, 6, 5}, 1)), w, {}); }, {"[conv2d]", "[3, 6, 5]"});
  expect_error([&] { ops::conv2d(x, Var(random({4, 3, 3, 3}, 2, DType::f32)), {}); }, {"[conv2d]", "f64", "f32"});
  expect_error(
      [&] {
        ops::conv1d(Var(random({2, 3, 4}, 1)), Var(random({2, 3, 5}, 1)), {});
      },
      {"[conv1d]", "at least"});
}

}  // namespace
}  // namespace spn::test
