// Batch norm on one rank: PyTorch, differences in double, fused against composed, odd shapes. Many ranks:
// tests/dist/ops.
#include "engine/ops/batch_norm.h"

#include <gtest/gtest.h>

#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

TEST(BatchNorm, AgreesWithPyTorch) {
  const Golden golden("batch_norm");
  ASSERT_GE(golden.cases().size(), 6U);
  for (const std::string& name : golden.cases()) {
    SCOPED_TRACE(name);
    const auto get = [&](const char* what) { return golden.tensor(name + "." + what); };
    const Var x(get("x"), true), w(get("weight"), true), b(get("bias"), true);
    const Var residual = golden.has(name + ".residual") ? Var(get("residual"), true) : Var();
    const Tensor mean = get("running_mean"), var = get("running_var");
    ops::BatchNorm o;
    o.eps = get("eps").item();
    o.momentum = get("momentum").item();
    o.training = get("training").item() != 0;
    o.relu = get("relu").item() != 0;
    const Var y = ops::batch_norm(x, w, b, mean, var, o, residual);
    backward({y}, {get("gy")});
    const Tolerance tol = tolerance(DType::f32, x.value().numel() / x.dim(1));
    EXPECT_TRUE(close(y.value(), get("y"), tol));
    EXPECT_TRUE(close(x.grad(), get("grad_x"), tol));
    EXPECT_TRUE(close(w.grad(), get("grad_weight"), tol));
    EXPECT_TRUE(close(b.grad(), get("grad_bias"), tol));
    if (residual) {
      EXPECT_TRUE(close(residual.grad(), get("grad_residual"), tol));
    }
    EXPECT_TRUE(close(mean, get("new_running_mean"), tol));
    EXPECT_TRUE(close(var, get("new_running_var"), tol));
  }
}

struct Mode {
  const char* name;
  bool training, relu, residual;
};
const std::vector<Mode> kModes = {
    {"train", true, false, false},
    {"train relu", true, true, false},
    {"train residual", true, false, true},
    {"train relu residual", true, true, true},
    {"eval", false, false, false},
    {"eval relu", false, true, false},
    {"eval relu residual", false, true, true},
};
// fewer and more channels than a vector, more and fewer rows than a period, odd ones
const std::vector<Shape> kShapes = {{2, 3, 4, 3}, {3, 5, 1, 1}, {2, 16, 3, 2}, {1, 33, 2, 3}, {9, 6}, {5, 1}};

Tensor running(std::int64_t channels, std::uint64_t stream, DType t, double low, double high) {
  return random({channels}, stream, t, low, high);
}

TEST(BatchNorm, GradientsAgreeWithDifferences) {
  for (const Mode& m : kModes)
    for (const Shape& s : kShapes) {
      SCOPED_TRACE(m.name + s.str());
      const Tensor mean = running(s[1], 5, DType::f64, -1, 1), var = running(s[1], 6, DType::f64, 0.5, 2);
      const auto f = [&](const std::vector<Var>& v) {
        ops::BatchNorm o;
        o.training = m.training;
        o.update_running = false;
        o.relu = m.relu;
        return ops::batch_norm(v[0], v[1], v[2], mean, var, o, m.residual ? v[3] : Var());
      };
      std::vector<Tensor> in = {random(s, 1), random({s[1]}, 2, DType::f64, 0.5, 1.5), random({s[1]}, 3)};
      if (m.residual) in.push_back(random(s, 4));
      EXPECT_TRUE(gradcheck(f, in, 1e-6, 1e-5));
    }
}

// f32 and bf16, strided inputs, against dense f64.
TEST(BatchNorm, StridedAndLowPrecisionAgree) {
  for (const DType t : {DType::f64, DType::f32, DType::bf16})
    for (const Mode& m : kModes)
      for (const Shape& s : kShapes) {
        SCOPED_TRACE(std::string(name_of(t)) + " " + m.name + s.str());
        const DType compute = t == DType::f64 ? DType::f64 : DType::f32;
        const Tensor x = random(s, 1, t), r = random(s, 4, t), dy = random(s, 9, t);
        const Tensor w = random({s[1]}, 2, compute, 0.5, 1.5), b = random({s[1]}, 3, compute);
        struct Out {
          Tensor y, dx, dw, db, dr, mean, var;
        };
        const auto run = [&](const Tensor& ax, const Tensor& aw, const Tensor& ab, const Tensor& ar,
                             const Tensor& ady) {
          const Tensor mean = running(s[1], 5, aw.dtype(), -1, 1), var = running(s[1], 6, aw.dtype(), 0.5, 2);
          const Var vx(ax, true), vw(aw, true), vb(ab, true), vr = m.residual ? Var(ar, true) : Var();
          ops::BatchNorm o;
          o.training = m.training;
          o.relu = m.relu;
          const Var y = ops::batch_norm(vx, vw, vb, mean, var, o, vr);
          backward({y}, {ady});
          return Out{y.value(), vx.grad(), vw.grad(), vb.grad(), m.residual ? vr.grad() : Tensor(), mean, var};
        };
        const auto f64 = [](const Tensor& v) { return v.to(DType::f64); };
        const Out want = run(f64(x), f64(w), f64(b), f64(r), f64(dy));
        const Out got = run(strided_copy(x), w, b, strided_copy(r), strided_copy(dy));
        Tolerance tol = tolerance(t, 100);
        if (t == DType::bf16) tol.absolute = 0.03;  // of values up to 3
        EXPECT_TRUE(close(got.y, want.y, tol));
        EXPECT_TRUE(close(got.mean, want.mean, tolerance(compute, 100)));
        EXPECT_TRUE(close(got.var, want.var, tolerance(compute, 100)));
        if (t == DType::bf16 && m.relu) continue;  // a value may round to the other side of the kink
        EXPECT_TRUE(close(got.dx, want.dx, tol));
        EXPECT_TRUE(close(got.dw, want.dw, tol));
        EXPECT_TRUE(close(got.db, want.db, tol));
        if (m.residual) {
          EXPECT_TRUE(close(got.dr, want.dr, tol));
        }
      }
}

// A mean of 1000 deviations: f64 sums lose nothing.
TEST(BatchNorm, LargeMeanKeepsVariance) {
  const Tensor x = random({64, 4, 8, 8}, 1, DType::f32, 999.5, 1000.5);
  const Var w(Tensor::full({4}, 1)), b(Tensor::zeros({4}));
  const Tensor mean = Tensor::zeros({4}), var = Tensor::zeros({4});
  ops::BatchNorm o;
  o.momentum = 1;
  ops::batch_norm(Var(x), w, b, mean, var, o);
  const auto values = x.to_vector<double>();
  for (std::int64_t c = 0; c < 4; ++c) {
    double s = 0, q = 0;
    for (std::size_t n = 0; n < 64; ++n)
      for (std::size_t k = 0; k < 64; ++k) s += values[(n * 4 + static_cast<std::size_t>(c)) * 64 + k];
    s /= 4096;
    for (std::size_t n = 0; n < 64; ++n)
      for (std::size_t k = 0; k < 64; ++k) {
        const double d = values[(n * 4 + static_cast<std::size_t>(c)) * 64 + k] - s;
        q += d * d;
      }
    EXPECT_TRUE(near(var.to_vector<double>()[static_cast<std::size_t>(c)], q / 4095, {1e-6, 0}));
    EXPECT_TRUE(near(mean.to_vector<double>()[static_cast<std::size_t>(c)], s, {1e-6, 0}));
  }
}

// The gradient's memory is reused only where nobody else can see it.
TEST(BatchNorm, BackwardLeavesTheGivenGradientAlone) {
  for (const bool residual : {false, true}) {
    const Tensor dy = random({4, 16, 2, 2}, 9, DType::f32), before = dy.clone();
    const Var x(random({4, 16, 2, 2}, 1, DType::f32), true), r(random({4, 16, 2, 2}, 2, DType::f32), true);
    const Var w(Tensor::full({16}, 1), true), b(Tensor::zeros({16}), true);
    ops::BatchNorm o;
    o.relu = true;
    o.update_running = false;
    backward({ops::batch_norm(x, w, b, {}, {}, o, residual ? r : Var())}, {dy});
    EXPECT_TRUE(close(dy, before, {0, 0}));
  }
}

TEST(BatchNorm, EmptyBatchChangesNothing) {
  const Var x(Tensor::empty({0, 3, 4, 4}), true), w(Tensor::full({3}, 1), true), b(Tensor::zeros({3}), true);
  const Tensor mean = Tensor::full({3}, 0.5), var = Tensor::full({3}, 2);
  const Var y = ops::batch_norm(x, w, b, mean, var, {});
  backward({y}, {Tensor::empty(y.shape())});
  EXPECT_EQ(y.shape(), x.shape());
  EXPECT_TRUE(close(mean, Tensor::full({3}, 0.5), {0, 0}));
  EXPECT_TRUE(close(var, Tensor::full({3}, 2), {0, 0}));
  EXPECT_TRUE(close(w.grad(), Tensor::zeros({3}), {0, 0}));
}

// A step that is not finite is skipped; its statistics must not stay behind.
TEST(BatchNorm, ChannelsThatAreNotFiniteLeaveTheRunningStatistics) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    Tensor x = random({4, 3, 2, 2}, 1, DType::f32);
    x.data<float>()[4] = bad;  // channel 1 of the first sample
    const Var w(Tensor::full({3}, 1)), b(Tensor::zeros({3}));
    const Tensor mean = Tensor::full({3}, 0.5), var = Tensor::full({3}, 2);
    const auto y = ops::batch_norm(Var(x), w, b, mean, var, {}).value().to_vector<double>();
    EXPECT_FALSE(std::isfinite(y[4]));
    const auto m = mean.to_vector<double>(), v = var.to_vector<double>();
    EXPECT_EQ(m[1], 0.5);
    EXPECT_EQ(v[1], 2);
    for (const std::size_t c : {0U, 2U}) {
      EXPECT_NE(m[c], 0.5);
      EXPECT_NE(v[c], 2);
      EXPECT_TRUE(std::isfinite(m[c]) && std::isfinite(v[c]));
    }
  }
}

TEST(BatchNorm, ErrorsExplain) {
  const Var x(random({2, 3, 4, 4}, 1, DType::f32)), w(Tensor::full({3}, 1)), b(Tensor::zeros({3}));
  const Tensor s = Tensor::full({3}, 1);
  const auto message = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  const auto has = [](const std::string& m, const char* words) { return m.find(words) != std::string::npos; };
  std::string m = message([&] { ops::batch_norm(x, Var(Tensor::full({4}, 1)), b, s, s, {}); });
  EXPECT_TRUE(has(m, "[batch_norm] expected w of shape [3], got [4]")) << m;
  m = message([&] { ops::batch_norm(x, w, b, {}, {}, {}); });
  EXPECT_TRUE(has(m, "running statistics of shape [3], got nothing")) << m;
  m = message([&] { ops::batch_norm(x, w, b, s, s, {}, Var(random({2, 3, 4, 5}, 1, DType::f32))); });
  EXPECT_TRUE(has(m, "residual of shape [2, 3, 4, 4]")) << m;
  m = message([&] { ops::batch_norm(Var(random({1, 3, 1, 1}, 1, DType::f32)), w, b, s, s, {}); });
  EXPECT_TRUE(has(m, "more than one value per channel")) << m;
  m = message([&] { ops::batch_norm(Var(random({2, 3, 4}, 1, DType::f32)), w, b, s, s, {}); });
  EXPECT_TRUE(has(m, "expected x [N,C,H,W] or [N,C], got [2, 3, 4]")) << m;
}

}  // namespace
}  // namespace spn::test
