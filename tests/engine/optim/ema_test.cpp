// Averaged weights against timm's ModelEmaV3, what is left out, and what does not fit.
#include "engine/optim/ema.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::optim {
namespace {

using test::Golden;

// The golden's model: a linear layer and a batch norm.
struct Model {
  nn::Registry registry{1};
  Model() {
    const nn::Scope layer = registry.root() / "layer", bn = registry.root() / "bn";
    layer.parameter("weight", {5, 7}, nn::Init::normal(1));
    layer.parameter("bias", {5}, nn::Init::normal(1));
    bn.parameter("weight", {5}, nn::Init::normal(1));
    bn.parameter("bias", {5}, nn::Init::normal(1));
    bn.buffer("running_mean", {5}, 0);
    bn.buffer("running_var", {5}, 1);
    bn.buffer("num_batches_tracked", {}, 0, DType::i64);
  }
  void take(const Golden& g, const std::string& prefix) {
    std::map<std::string, Tensor> t;
    for (const auto& e : registry.entries()) t[e.name] = g.tensor(prefix + e.name);
    registry.load(t, "golden");
  }
};

TEST(Ema, SixUpdatesLikeTimm) {
  const Golden g("optim");
  Model m;
  m.take(g, "ema.start.");
  Ema ema(m.registry, 0.9);
  ASSERT_EQ(ema.state().size(), 7U);
  for (int t = 0; t < 6; ++t) {
    m.take(g, "ema.model" + std::to_string(t) + ".");
    ema.update();
    for (const auto& [name, value] : ema.state())
      EXPECT_TRUE(test::close(value, g.tensor("ema.average" + std::to_string(t) + "." + name),
                              value.dtype() == DType::i64 ? test::Tolerance{0, 0} : test::tolerance(DType::f32, 4)))
          << name << " update " << t;
  }
  for (const auto& e : m.registry.entries())  // the model itself is as it was
    EXPECT_TRUE(test::close(e.value(), g.tensor("ema.model5." + e.name), {0, 0})) << e.name;
}

TEST(Ema, FrozenParametersAreLeftOutAndRestartTakesTheWeights) {
  const Golden g("optim");
  Model m;
  ASSERT_EQ(m.registry.freeze("layer.*"), 2);
  m.take(g, "ema.start.");
  Ema ema(m.registry, 0.5);
  for (const auto& [name, value] : ema.state()) EXPECT_EQ(name.rfind("layer.", 0), std::string::npos) << name;
  m.take(g, "ema.model0.");
  ema.restart();
  for (const auto& [name, value] : ema.state())
    EXPECT_TRUE(test::close(value, g.tensor("ema.model0." + name), {0, 0})) << name;
}

TEST(Ema, RestoredIsBitEqualAndWhatDoesNotFitIsNamed) {
  const Golden g("optim");
  Model m;
  m.take(g, "ema.start.");
  Ema one(m.registry, 0.9), two(m.registry, 0.9);
  m.take(g, "ema.model0.");
  one.update();
  std::map<std::string, Tensor> saved;
  for (const auto& [name, t] : one.state()) saved.emplace(name, t.clone());
  two.load_state(saved, "somewhere");
  m.take(g, "ema.model1.");
  one.update();
  two.update();
  for (std::size_t i = 0; i < one.state().size(); ++i) {
    const Tensor &a = one.state()[i].tensor, &b = two.state()[i].tensor;
    EXPECT_EQ(std::memcmp(a.view().data, b.view().data, a.bytes()), 0) << one.state()[i].name;
  }
  saved.erase("bn.weight");
  saved["layer.bias"] = test::random({4}, 1, DType::f32);
  try {
    two.load_state(saved, "somewhere");
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    for (const char* says : {"somewhere", "missing bn.weight", "layer.bias: expected f32 [5], got f32 [4]"})
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
  }
  EXPECT_THROW(Ema(m.registry, 1.0), Error);
  EXPECT_THROW(Ema(m.registry, 0.0), Error);
}

}  // namespace
}  // namespace spn::optim
