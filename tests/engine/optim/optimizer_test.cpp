// AdamW and SGD against ten PyTorch updates, clipping, groups, schedules, and what a NaN gradient does.
#include "engine/optim/optimizer.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/optim/schedule.h"
#include "kernels/math/optim.h"
#include "kernels/table.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::optim {
namespace {

using test::Golden;

const std::vector<std::string> kNames = {"layer.weight", "layer.bias", "scale"};

std::vector<Var> start(const Golden& g, const std::string& name) {
  std::vector<Var> v;
  for (const auto& n : kNames) v.emplace_back(g.tensor(name + ".start." + n), true, n);
  return v;
}

void expect_like_torch(const std::string& name, const std::vector<Var>& vars, Optimizer& opt, double clip) {
  const Golden g("optim");
  for (int t = 0; t < 10; ++t) {
    const std::string step = std::to_string(t);
    for (const Var& v : vars) v.set_grad(g.tensor(name + ".grad" + step + "." + v.name()));
    const StepResult r = opt.step({.lr = 0.01 * (t + 1), .weight_decay = 0.05, .clip_norm = clip});
    EXPECT_FALSE(r.skipped);
    if (clip > 0) {
      EXPECT_NEAR(r.grad_norm, *g.tensor(name + ".norm" + step).data<float>(), 1e-5 * r.grad_norm);
    }
    for (const Var& v : vars)
      EXPECT_TRUE(test::close(v.value(), g.tensor(name + ".after" + step + "." + v.name()), {2e-6, 1e-6}))
          << name << " step " << t << " " << v.name();
  }
  EXPECT_EQ(opt.steps(), 10);
  for (const auto& s : opt.state()) {
    const std::string want =
        name + "." + (s.name.starts_with("momentum.") ? "momentum_buffer" + s.name.substr(8) : s.name);
    if (g.has(want)) {
      EXPECT_TRUE(test::close(s.tensor, g.tensor(want), {4e-6, 1e-6})) << s.name;
    } else {
      EXPECT_TRUE(s.name == "step" || name == "sgd_plain") << s.name;
    }
  }
}

TEST(AdamW, TenStepsLikePyTorch) {
  const auto v = start(Golden("optim"), "adamw");
  expect_like_torch("adamw", v, *make_adamw(make_items(v)), 0);
}

TEST(AdamW, ClippedLikePyTorch) {
  const auto v = start(Golden("optim"), "adamw_clipped");
  expect_like_torch("adamw_clipped", v, *make_adamw(make_items(v), {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3}), 2.5);
}

TEST(Sgd, TenStepsLikePyTorch) {
  const auto v = start(Golden("optim"), "sgd");
  expect_like_torch("sgd", v, *make_sgd(make_items(v)), 0);
  const auto w = start(Golden("optim"), "sgd_plain");
  expect_like_torch("sgd_plain", w, *make_sgd(make_items(w), {.momentum = 0}), 1e6);
}

TEST(Optimizer, SkipsAndCountsNonFiniteGradients) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Var v(Tensor::from(std::vector<float>{1, 2}, {2}), true, "w"),
        u(Tensor::from(std::vector<float>{3}, {1}), true, "u");
    const auto opt = make_adamw(make_items({v, u}));
    v.set_grad(Tensor::from(std::vector<float>{0.5F, 0.5F}, {2}));
    u.set_grad(Tensor::from(std::vector<float>{bad}, {1}));
    const StepResult r = opt->step({.lr = 0.1, .weight_decay = 0.1});
    EXPECT_TRUE(r.skipped);
    EXPECT_FALSE(std::isfinite(r.grad_norm));
    EXPECT_EQ(opt->steps(), 0);
    EXPECT_EQ(v.value().to_vector<float>(), (std::vector<float>{1, 2}));
    for (const auto& s : opt->state())
      for (const double x : s.tensor.to_vector<double>()) EXPECT_EQ(x, 0);
  }
}

TEST(Optimizer, AbsentGradientsLeaveTheParameterAlone) {
  const Var v(Tensor::from(std::vector<float>{1, 2}, {2, 1}), true, "w"),
      u(Tensor::from(std::vector<float>{3}, {1, 1}), true, "u");
  const auto opt = make_sgd(make_items({v, u}));
  v.set_grad(Tensor::from(std::vector<float>{3, 4}, {2, 1}));
  EXPECT_EQ(opt->step({.lr = 1, .weight_decay = 0.5}).grad_norm, 5);
  EXPECT_EQ(u.value().data<float>()[0], 3);
  EXPECT_EQ(v.value().data<float>()[0], 1 - 3.5F);
  opt->zero_grad();
  EXPECT_FALSE(v.grad());
  EXPECT_EQ(opt->step({.lr = 1}).grad_norm, 0);
}

// What a strided gradient and a scaled learning rate come to, in double.
TEST(Optimizer, StridedGradientAndLrScale) {
  const Tensor g = test::random({4, 6}, 3), w = test::random({4, 6}, 4);
  const Var a(w.clone(), true, "a"), b(w.clone(), true, "b");
  const auto one = make_adamw(make_items({a})), two = make_adamw(make_items({b}, {{"b", 0.25}, {"*", 9}}));
  for (int t = 0; t < 3; ++t) {
    a.set_grad(g);
    b.set_grad(test::strided_copy(g));
    one->step({.lr = 0.01, .weight_decay = 0.1});
    two->step({.lr = 0.04, .weight_decay = 0.1});
  }
  EXPECT_TRUE(test::close(b.value(), a.value(), test::tolerance(DType::f64)));
}

// Many tensors of awkward sizes: the same bits for any number of threads, and against the plain formula.
TEST(Optimizer, SameBitsForAnyNumberOfThreads) {
  const std::vector<std::int64_t> sizes = {1, 7, 16384, 16385, 50000, 3};
  std::vector<std::vector<float>> results;
  std::vector<double> norms;
  const int before = omp_get_max_threads();
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    std::vector<Var> v;
    for (std::size_t i = 0; i < sizes.size(); ++i)
      v.emplace_back(test::random({sizes[i]}, i, DType::f32), true, "p" + std::to_string(i));
    const auto opt = make_adamw(make_items(v));
    double norm = 0;
    for (int t = 0; t < 2; ++t) {
      for (std::size_t i = 0; i < sizes.size(); ++i) v[i].set_grad(test::random({sizes[i]}, 100 + i, DType::f32));
      norm = opt->step({.lr = 0.1, .weight_decay = 0.1, .clip_norm = 1}).grad_norm;
    }
    norms.push_back(norm);
    results.emplace_back();
    for (const Var& p : v)
      for (const float x : p.value().to_vector<float>()) results.back().push_back(x);
  }
  omp_set_num_threads(before);
  EXPECT_EQ(norms[0], norms[1]);
  EXPECT_EQ(norms[0], norms[2]);
  EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), results[0].size() * 4), 0);
  EXPECT_EQ(std::memcmp(results[0].data(), results[2].data(), results[0].size() * 4), 0);
  double want = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    for (const float x : test::random({sizes[i]}, 100 + i, DType::f32).to_vector<float>())
      want += static_cast<double>(x) * x;
  EXPECT_NEAR(norms[0], std::sqrt(want), 1e-10 * norms[0]);
}

TEST(Kernels, RefuseWhatDoesNotFit) {
  using kernels::run;
  using kernels::Table;
  const Tensor w = Tensor::from(std::vector<float>(6), {2, 3}), g = Tensor::from(std::vector<float>(6), {3, 2});
  const kernels::AdamWParam bad{.w = w, .grad = g, .m = w, .v = w};
  EXPECT_THROW(run<&Table::adamw>({.params = {&bad, 1}}), Error);
  const Tensor half = Tensor::empty({3, 2}, DType::bf16);
  const kernels::AdamWParam misshapen{.w = w, .grad = w, .m = w, .v = w, .copy = half},
      unrounded{.w = w, .grad = w, .m = w, .v = w, .copy = w};
  EXPECT_THROW(run<&Table::adamw>({.params = {&misshapen, 1}}), Error);
  EXPECT_THROW(run<&Table::adamw>({.params = {&unrounded, 1}}), Error);
  const kernels::SgdParam worse{.w = w, .grad = w.transpose(0, 1), .momentum = w};
  EXPECT_THROW(run<&Table::sgd>({.params = {&worse, 1}}), Error);
  const View v = w.view();
  EXPECT_THROW(run<&Table::sum_of_squares>({.x = {&v, 1}, .out = w}), Error);
}

// What a layer reads in bf16 is the weight, rounded, after whatever has written it; its memory stays.
TEST(RoundedForm, FollowsTheWeight) {
  const auto bits = [](const Tensor& t) {
    const auto* p = t.data<bf16>();
    std::vector<std::uint16_t> v;
    for (std::int64_t i = 0; i < t.numel(); ++i) v.push_back(p[i].bits);
    return v;
  };
  for (const bool adamw : {true, false}) {
    const Var kept(test::random({37, 41}, 3, DType::f32), true, "kept"),
        plain(test::random({7}, 4, DType::f32), true, "plain"),
        frozen(test::random({5}, 5, DType::f32), false, "frozen");
    kept.keep_rounded(true);
    frozen.keep_rounded(true);
    const Tensor copy = kept.value_as(DType::bf16), still = frozen.value_as(DType::bf16);
    EXPECT_EQ(bits(copy), bits(kept.value().to(DType::bf16)));
    EXPECT_TRUE(kept.value_as(DType::bf16).shares_storage_with(copy));
    EXPECT_TRUE(kept.value_as(DType::f32).shares_storage_with(kept.value()));
    EXPECT_FALSE(plain.value_as(DType::bf16).shares_storage_with(plain.value_as(DType::bf16)));
    EXPECT_FALSE(plain.rounded());
    const auto opt = adamw ? make_adamw(make_items({kept, plain})) : make_sgd(make_items({kept, plain}));
    for (std::uint64_t t = 0; t < 3; ++t) {
      const auto before = bits(copy);
      kept.set_grad(test::random({37, 41}, 10 + t, DType::f32));
      plain.set_grad(test::random({7}, 20 + t, DType::f32));
      opt->step({.lr = 0.05, .weight_decay = 0.1});
      EXPECT_NE(bits(copy), before);
      EXPECT_EQ(bits(copy), bits(kept.value().to(DType::bf16))) << "step " << t;
    }
    const auto before = bits(copy);
    kept.set_grad(Tensor::full({37, 41}, std::numeric_limits<double>::infinity()));
    EXPECT_TRUE(opt->step({.lr = 0.05}).skipped);
    EXPECT_EQ(bits(copy), before);
    kept.set_value(test::random({37, 41}, 9, DType::f32));
    EXPECT_EQ(bits(copy), bits(kept.value().to(DType::bf16)));
    EXPECT_TRUE(kept.rounded().shares_storage_with(copy));
    EXPECT_EQ(bits(still), bits(frozen.value().to(DType::bf16)));
    kept.keep_rounded(false);
    EXPECT_FALSE(kept.rounded());
  }
}

TEST(Groups, BiasesAndVectorsDoNotDecay) {
  const auto var = [](const Shape& s, const char* name) { return Var(Tensor::empty(s), true, name); };
  const auto items = make_items({var({2, 3}, "fc.weight"), var({3}, "fc.bias"), var({3}, "norm.weight"),
                                 var({1, 1, 4}, "cls_token"), var({}, "logit_scale.spot"), var({2, 2}, "odd.bias")},
                                {{"fc.*", 0.5}});
  const bool decay[] = {true, false, false, true, false, false};
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(items[i].decay, decay[i]) << items[i].var.name();
    EXPECT_EQ(items[i].lr_scale, i < 2 ? 0.5 : 1.0);
  }
  try {
    make_items({var({2}, "fc.bias")}, {{"cf.*", 2}});
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("cf.*"), std::string::npos);
  }
  EXPECT_THROW(make_adamw({}), Error);
}

TEST(Schedule, LikePyTorchsAndAtItsCorners) {
  const Cosine lr{.start = 3e-3, .end = 1e-6, .warmup = 5, .total = 25};
  const Tensor want_tensor = Golden("optim").tensor("schedule.lr");
  ASSERT_EQ(want_tensor.numel(), 26);
  for (std::int64_t t = 0; t < 26; ++t) EXPECT_NEAR(lr.at(t), want_tensor.data<double>()[t], 1e-12) << t;
  EXPECT_EQ(lr.at(0), 0);
  EXPECT_EQ(lr.at(5), 3e-3);
  EXPECT_EQ(lr.at(1000), 1e-6);
  const Cosine decay{.start = 0.04, .end = 0.4, .total = 100};
  EXPECT_DOUBLE_EQ(decay.at(0), 0.04);
  EXPECT_NEAR(decay.at(50), 0.22, 1e-15);
  EXPECT_EQ(decay.at(100), 0.4);
  EXPECT_NEAR(decay.at(25), 0.04 + 0.36 * (1 - std::cos(std::acos(-1.0) / 4)) / 2, 1e-15);
  // a run that is all warm-up never divides by zero
  EXPECT_EQ((Cosine{.start = 1, .end = 0, .warmup = 10, .total = 10}).at(9), 0.9);
  EXPECT_EQ((Cosine{.start = 1, .end = 0, .warmup = 10, .total = 10}).at(10), 0.0);
  EXPECT_DOUBLE_EQ(scaled_lr(5e-4, 128), 2.5e-4);
}

TEST(Clip, ScaleIsOneWhenOffOrSmall) {
  EXPECT_EQ(kernels::clip_scale(5, 0), 1);
  EXPECT_EQ(kernels::clip_scale(0.5, 1), 1);
  EXPECT_DOUBLE_EQ(kernels::clip_scale(4, 1), 1 / (4 + 1e-6));
}

}  // namespace
}  // namespace spn::optim
