// The parameter registry: names, counts, freezing, and loads that name every tensor that does not fit; initial values.
#include "engine/nn/registry.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/core/philox.h"

namespace spn::nn {
namespace {

void declare(Registry& r) {
  const Scope s = r.root() / "spot_image" / "backbone";
  s.parameter("fc.weight", {4, 9}, Init::fan_in(9));
  s.parameter("fc.bias", {4}, Init::fan_in(9));
  s.buffer("bn1.running_var", {4}, 1);
  s.buffer("bn1.num_batches_tracked", {}, 0, DType::i64);
  (r.root() / "heads").parameter("weight", {2, 4}, Init::trunc_normal(0.02));
}

std::map<std::string, Tensor> tensors_like(const Registry& r) {
  std::map<std::string, Tensor> t;
  for (const auto& e : r.entries()) {
    if (e.value().dtype() == DType::i64)
      t[e.name] = Tensor::from(std::vector<std::int64_t>{77}, {});
    else
      t[e.name] =
          Tensor::from(std::vector<float>(static_cast<std::size_t>(e.value().numel()), 0.25F), e.value().shape());
  }
  return t;
}

TEST(Registry, NamesOrderAndCounts) {
  Registry r(1);
  declare(r);
  std::vector<std::string> names;
  for (const auto& e : r.entries()) names.push_back(e.name);
  EXPECT_EQ(names, (std::vector<std::string>{"spot_image.backbone.fc.weight", "spot_image.backbone.fc.bias",
                                             "spot_image.backbone.bn1.running_var",
                                             "spot_image.backbone.bn1.num_batches_tracked", "heads.weight"}));
  EXPECT_EQ(r.count(), 48);
  EXPECT_EQ(r.count("spot_image."), 40);
  EXPECT_EQ(r.trainable().size(), 3U);
  EXPECT_THROW(declare(r), Error);
}

TEST(Registry, FrozenParametersAreNotTrained) {
  Registry r(1);
  declare(r);
  EXPECT_EQ(r.freeze("spot_image.*"), 2);
  EXPECT_EQ(r.freeze("nothing.*"), 0);
  ASSERT_EQ(r.trainable().size(), 1U);
  EXPECT_EQ(r.trainable()[0].name(), "heads.weight");
}

TEST(Registry, LoadReplacesParametersAndBuffers) {
  Registry r(1);
  declare(r);
  r.load(tensors_like(r), "file");
  EXPECT_EQ(r.entries()[0].value().data<float>()[5], 0.25F);
  EXPECT_EQ(*r.entries()[3].value().data<std::int64_t>(), 77);
}

TEST(Registry, LoadNamesEverythingThatDoesNotFitAndChangesNothing) {
  Registry r(1);
  declare(r);
  const float before = r.entries()[0].value().data<float>()[0];
  auto t = tensors_like(r);
  t.erase("heads.weight");
  t["spot_image.backbone.fc.bias"] = Tensor::from(std::vector<float>(5), {5});
  t["spot_image.extra"] = Tensor::from(std::vector<float>(1), {1});
  try {
    r.load(t, "model.safetensors");
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_EQ(e.kind(), ErrorKind::data);
    for (const char* says : {"model.safetensors", "missing heads.weight [2, 4]", "fc.bias: expected shape [4], got [5]",
                             "unexpected spot_image.extra [1]", "3 tensors differ"})
      EXPECT_NE(what.find(says), std::string::npos) << says << "\n" << what;
  }
  EXPECT_EQ(r.entries()[0].value().data<float>()[0], before);
  EXPECT_THROW(r.load(t, "f", "spot_image.backbone"), Error);
  t["spot_image.backbone.fc.bias"] = Tensor::from(std::vector<float>(4), {4});
  r.load(t, "f", "spot_image.backbone.");  // the head and the extra do not take part
  EXPECT_EQ(r.entries()[0].value().data<float>()[0], 0.25F);
}

TEST(Init, DependsOnSeedAndNameAlone) {
  Registry a(5), b(5), c(6);
  declare(a);
  (b.root() / "heads").parameter("weight", {2, 4}, Init::trunc_normal(0.02));
  declare(c);
  const auto head = [](const Registry& r, std::size_t i) {
    const float* p = r.entries()[i].value().data<float>();
    return std::vector<float>(p, p + 8);
  };
  EXPECT_EQ(head(a, 4), head(b, 0));
  EXPECT_NE(head(a, 4), head(c, 4));
}

// Drawn by many threads, a parameter is the sequence that one draws from first to last.
TEST(Init, ThreadsDrawTheSequenceOfOne) {
  constexpr std::int64_t kCount = 70001;
  const std::pair<Init, double (*)(PhiloxStream&)> cases[] = {
      {Init{Init::Kind::uniform, 0.25}, [](PhiloxStream& r) { return 0.25 * (2 * r.uniform_double() - 1); }},
      {Init::normal(0.5), [](PhiloxStream& r) { return 0.5 * r.normal(); }},
      {Init::trunc_normal(0.02), [](PhiloxStream& r) { return 0.02 * r.normal(); }},
      {Init::trunc_normal(1), [](PhiloxStream& r) {
         double x = 0;
         do x = r.normal();
         while (std::abs(x) > 2);
         return x;
       }}};
  for (const auto& [init, next] : cases) {
    PhiloxStream rng(9, RandomUse::init, name_hash("a.weight"));
    const Tensor t = initial_value(init, {kCount}, 9, "a.weight");
    for (std::int64_t i = 0; i < kCount; ++i) ASSERT_EQ(t.data<float>()[i], static_cast<float>(next(rng))) << i;
  }
}

// Mean, spread and bounds of 100,000 draws.
TEST(Init, Distributions) {
  struct Case {
    Init init;
    double std, bound;
  };
  const double u = 1 / std::sqrt(27.0);
  const Case cases[] = {{Init::fan_in(27), u / std::sqrt(3.0), u},
                        {Init::normal(0.5), 0.5, 5},
                        {Init::trunc_normal(0.02), 0.02, 0.2},
                        // wide enough to be cut: the spread of a standard normal within ±2
                        {Init::trunc_normal(1.0), 0.8796, 2}};
  for (const Case& c : cases) {
    const Tensor t = initial_value(c.init, {1000, 100}, 3, "w");
    double sum = 0, squares = 0, top = 0;
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      const double x = t.data<float>()[i];
      sum += x;
      squares += x * x;
      top = std::max(top, std::abs(x));
    }
    const double n = static_cast<double>(t.numel());
    EXPECT_NEAR(sum / n, 0, 0.015 * c.std);
    EXPECT_NEAR(std::sqrt(squares / n), c.std, 0.01 * c.std);
    EXPECT_LE(top, c.bound);
  }
  EXPECT_EQ(initial_value(Init::constant(1.5), {3, 7000}, 3, "w").data<float>()[20999], 1.5F);
  EXPECT_EQ(initial_value(Init::constant(1.5), {3}, 3, "w").data<float>()[2], 1.5F);
  EXPECT_THROW(Init::fan_in(0), Error);
}

}  // namespace
}  // namespace spn::nn
