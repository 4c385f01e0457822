// The residual sum on its own and on the way to a norm: one arithmetic, so that activation checkpointing, which takes
// the one between blocks where a plain run takes the other, changes no bit.
#include <gtest/gtest.h>

#include "engine/ops/norm.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

constexpr DType kFloats[] = {DType::f32, DType::bf16, DType::f64};

TEST(AddBranch, IsTheSumThatIsNormalised) {
  for (const DType t : kFloats)
    for (const std::int64_t n : {1, 7, 64, 129})
      for (const bool gated : {false, true}) {
        const Var x(random({5, n}, 1, t)), branch(random({5, n}, 2, t)), w(random({n}, 4, t)), b(random({n}, 5, t));
        const Var gate = gated ? Var(random({n}, 3, t == DType::bf16 ? DType::f32 : t)) : Var();
        const ops::AddedNorm both = ops::add_layer_norm(x, branch, gate, w, b, 1e-5);
        EXPECT_TRUE(close(ops::add_branch(x, branch, gate).value(), both.sum.value(), {0, 0}))
            << name_of(t) << " " << n << (gated ? ", gated" : "");
        EXPECT_TRUE(close(ops::layer_norm(both.sum, w, b, 1e-5).value(), both.normed.value(), {0, 0}))
            << name_of(t) << " " << n << (gated ? ", gated" : "");
      }
}

// Backward multiplies by the gate that forward multiplied by: rounded, where rows are bf16.
TEST(AddBranch, GradientsSeeTheGateOfTheForward) {
  const double gate = 1.0 + 1.0 / 257;  // 1 in bf16; three times as much is not 3 there
  const Var x(Tensor::full({1, 2}, 0, DType::bf16), true), branch(Tensor::full({1, 2}, 3, DType::bf16), true),
      g(Tensor::full({2}, gate), true);
  const Var y = ops::add_branch(x, branch, g);
  EXPECT_EQ(y.value().to(DType::f32).to_vector<float>(), (std::vector<float>{3, 3}));
  backward({y}, {Tensor::full({1, 2}, 3, DType::bf16)});
  EXPECT_EQ(branch.grad().to(DType::f32).to_vector<float>(), (std::vector<float>{3, 3}));
  EXPECT_EQ(x.grad().to(DType::f32).to_vector<float>(), (std::vector<float>{3, 3}));
  EXPECT_EQ(g.grad().dtype(), DType::f32);
  EXPECT_EQ(g.grad().to_vector<float>(), (std::vector<float>{9, 9}));
}

}  // namespace
}  // namespace spn::test
