// Values and gradients against PyTorch's (tests/golden): every case of the families below, in f64 and in f32.
#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "engine/ops/attention.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "engine/ops/reduce.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using Inputs = std::vector<Var>;
using Apply = std::function<Var(const std::string& name, const Inputs& v, const Golden& g)>;

struct Family {
  std::string file;
  std::vector<std::string> inputs;  // in the order of Apply; a case has some of them
  Apply f;
  std::int64_t terms = 16;  // of the longest sum: tests/support/tolerance.h
};

bool starts(const std::string& s, const char* with) { return s.starts_with(with); }
int number(const Golden& g, const std::string& name) { return static_cast<int>(g.tensor(name).item()); }

Var elementwise(const std::string& name, const Inputs& v, const Golden&) {
  static const std::map<std::string, Var (*)(const Var&)> unary = {
      {"gelu", ops::gelu},
      {"relu", ops::relu},
      {"exp", ops::exp},
      {"log", ops::log},
      {"sqrt", ops::sqrt},
      {"tanh", ops::tanh},
      {"sigmoid", ops::sigmoid},
      {"square", ops::square},
      {"neg", ops::neg},
      {"affine", [](const Var& x) { return ops::affine(x, 2.5, -0.75); }},
      {"clamp", [](const Var& x) { return ops::clamp_max(x, 0.5); }}};
  static const std::map<std::string, Var (*)(const Var&, const Var&)> binary = {
      {"add", ops::add}, {"sub", ops::sub}, {"mul", ops::mul}, {"div", ops::div}};
  const std::string op = name.substr(0, name.find('_'));
  return v.size() == 1 ? unary.at(op)(v[0]) : binary.at(op)(v[0], v[1]);
}

Var reduce(const std::string& name, const Inputs& v, const Golden&) {
  const bool sum = starts(name, "sum");
  const std::string dims = name.substr(name.find('_') + 1);
  if (dims == "all") return sum ? ops::sum(v[0]) : ops::mean(v[0]);
  if (dims == "first") return sum ? ops::sum(v[0], {0}) : ops::mean(v[0], {0});
  if (dims == "outer") return sum ? ops::sum(v[0], {0, 2}) : ops::mean(v[0], {0, 2});
  return sum ? ops::sum(v[0], {-1}, true) : ops::mean(v[0], {-1}, true);
}

const std::vector<Family>& families() {
  static const std::vector<Family> list = {
      {"elementwise", {"x", "a", "b"}, elementwise},
      {"reduce", {"x"}, reduce, 129},
      {"index",
       {"x"},
       [](const std::string& name, const Inputs& v, const Golden& g) {
         return ops::gather_rows(v[0], g.tensor(name + ".index"));
       }},
      {"linear",
       {"x", "weight", "bias", "a", "b"},
       [](const std::string& name, const Inputs& v, const Golden&) {
         if (starts(name, "matmul")) return ops::matmul(v[0], v[1]);
         const auto act = name == "gelu"   ? ops::Activation::gelu
                          : name == "relu" ? ops::Activation::relu
                                           : ops::Activation::none;
         return ops::linear(v[0], v[1], v.size() > 2 ? v[2] : Var(), act);
       }},
      {"layer_norm",
       {"x", "weight", "bias"},
       [](const std::string& name, const Inputs& v, const Golden& g) {
         return ops::layer_norm(v[0], v[1], v[2], g.tensor(name + ".eps").item());
       }},
      {"softmax",
       {"x"},
       [](const std::string& name, const Inputs& v, const Golden&) {
         return starts(name, "log") ? ops::log_softmax(v[0]) : ops::softmax(v[0]);
       }},
      {"attention",
       {"qkv", "q", "k", "v"},
       [](const std::string& name, const Inputs& v, const Golden& g) {
         const int heads = number(g, name + ".heads");
         return v.size() == 1 ? ops::self_attention(v[0], heads) : ops::cross_attention(v[0], v[1], v[2], heads);
       }},
      {"l2_normalise",
       {"x"},
       [](const std::string&, const Inputs& v, const Golden&) { return ops::l2_normalise(v[0]); }},
      {"cross_entropy",
       {"logits"},
       [](const std::string& name, const Inputs& v, const Golden& g) {
         return ops::cross_entropy(v[0], g.tensor(name + ".target"));
       }},
  };
  return list;
}

class Golden64And32 : public testing::TestWithParam<Family> {};

TEST_P(Golden64And32, EveryCase) {
  const Family& family = GetParam();
  const Golden golden(family.file);
  ASSERT_FALSE(golden.cases().empty());
  for (const std::string& name : golden.cases()) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      SCOPED_TRACE(name + " in " + name_of(dtype));
      Inputs v;
      std::vector<std::string> names;
      for (const std::string& input : family.inputs) {
        if (!golden.has(name + "." + input)) continue;
        names.push_back(input);
        v.emplace_back(golden.tensor(name + "." + input).to(dtype), true);
      }
      const Var y = family.f(name, v, golden);
      backward({y}, {golden.tensor(name + ".gy").to(dtype)});
      // A golden is right to half a unit of f32.
      const Tolerance tol = dtype == DType::f64 ? Tolerance{6e-8, 1e-13} : tolerance(DType::f32, family.terms);
      EXPECT_TRUE(close(y.value(), golden.tensor(name + ".y"), tol));
      for (std::size_t i = 0; i < v.size(); ++i)
        EXPECT_TRUE(close(v[i].grad(), golden.tensor(name + ".grad_" + names[i]), tol)) << names[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Golden64And32, testing::ValuesIn(families()),
                         [](const auto& row) { return row.param.file; });

}  // namespace
}  // namespace spn::test
