// bf16 activations beside fp32 master weights: products of rounded operands, summed in fp32, and gradients of the
// weights that were never rounded to bf16. (bf16 throughout is a column of op_list.h.)
#include <gtest/gtest.h>

#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using Vars = std::vector<Var>;

struct Case {
  std::string name;
  std::vector<Shape> shapes;  // x first, parameters after it
  std::function<Var(const Vars&)> f;
  std::int64_t reduction;
  bool kink = false;
};

[[maybe_unused]] void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

struct Result {
  Tensor y;
  std::vector<Tensor> grads;
};

Result run(const Case& c, const std::vector<Tensor>& inputs) {
  Vars v;
  for (const Tensor& t : inputs) v.emplace_back(t, true);
  const Var y = c.f(v);
  backward({y}, {random(y.shape(), 77, DType::bf16).to(y.dtype())});
  Result r{y.value(), {}};
  for (const Var& e : v) r.grads.push_back(e.grad());
  return r;
}

class MasterWeights : public testing::TestWithParam<Case> {};

TEST_P(MasterWeights, ProductsAreRoundedGradientsOfWeightsAreNot) {
  const Case& c = GetParam();
  std::vector<Tensor> mixed, wide;
  for (std::size_t i = 0; i < c.shapes.size(); ++i) {
    // weights that bf16 holds exactly: the reference sees the same numbers
    const Tensor t = random(c.shapes[i], 10 + i, DType::bf16, -1, 1);
    mixed.push_back(i == 0 ? t : t.to(DType::f32));
    wide.push_back(t.to(DType::f64));
  }
  const Result got = run(c, mixed), want = run(c, wide);
  EXPECT_EQ(got.y.dtype(), DType::bf16);
  EXPECT_TRUE(close(got.y, want.y, tolerance(DType::bf16, c.reduction)));
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    EXPECT_EQ(got.grads[i].dtype(), mixed[i].dtype()) << "input " << i;
    if (c.kink) continue;
    // dy is exact in bf16 too, so that weights' gradients are fp32 sums of exact products: fp32's row of the table
    const bool exact = i > 0;
    EXPECT_TRUE(close(got.grads[i], want.grads[i],
                      exact ? tolerance(DType::f32, 64 * c.reduction) : tolerance(DType::bf16, c.reduction)))
        << "input " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layers, MasterWeights,
    testing::Values(
        Case{"linear", {{3, 5, 17}, {9, 17}, {9}}, [](const Vars& v) { return ops::linear(v[0], v[1], v[2]); }, 17},
        Case{"linear_no_bias", {{33, 65}, {31, 65}}, [](const Vars& v) { return ops::linear(v[0], v[1], {}); }, 65},
        Case{"linear_relu",
             {{7, 17}, {9, 17}, {9}},
             [](const Vars& v) { return ops::linear(v[0], v[1], v[2], ops::Activation::relu); },
             17,
             true},
        Case{"conv3",
             {{2, 5, 9, 7}, {6, 5, 3, 3}, {6}},
             [](const Vars& v) { return ops::conv2d(v[0], v[1], v[2], 2, 1); },
             45},
        Case{"conv1", {{2, 16, 8, 8}, {32, 16, 1, 1}}, [](const Vars& v) { return ops::conv2d(v[0], v[1], {}); }, 64},
        Case{"patch",
             {{2, 3, 16, 16}, {12, 3, 8, 8}, {12}},
             [](const Vars& v) { return ops::conv2d(v[0], v[1], v[2], 8, 0); },
             192},
        Case{"layer_norm",
             {{6, 33}, {33}, {33}},
             [](const Vars& v) { return ops::layer_norm(v[0], v[1], v[2], 1e-5); },
             33}),
    [](const auto& row) { return row.param.name; });

// What a weight loses by rounding is lost in the product alone: its gradient goes to the fp32 master.
TEST(MasterWeights, AreRoundedForTheProduct) {
  const Var x(Tensor::full({1, 2}, 1, DType::bf16)), w(Tensor::full({1, 2}, 1.0 + 1.0 / 512), true);
  const Var y = ops::linear(x, w, {});
  EXPECT_EQ(y.value().item(), 2.0);
  backward({y}, {Tensor::full({1, 1}, 1, DType::bf16)});
  EXPECT_EQ(w.grad().dtype(), DType::f32);
  EXPECT_EQ(w.value().to_vector<float>()[0], 1.0F + 1.0F / 512);
}

TEST(MasterWeights, OtherMixturesAreRefused) {
  const Var x(Tensor::zeros({1, 2})), w(Tensor::zeros({1, 2}, DType::bf16)), v(Tensor::zeros({2}, DType::bf16));
  EXPECT_THROW(ops::linear(x, w, {}), Error);
  EXPECT_THROW(ops::layer_norm(x, v, v, 1e-5), Error);
  EXPECT_THROW(ops::conv2d(Var(Tensor::zeros({1, 1, 2, 2})), Var(Tensor::zeros({1, 1, 1, 1}, DType::bf16)), {}), Error);
}

}  // namespace
}  // namespace spn::test
