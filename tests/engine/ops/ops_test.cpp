// What holds for every row of op_list.h.
#include <gtest/gtest.h>

#include "tests/engine/ops/op_list.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

struct Result {
  Tensor y;
  std::vector<Tensor> grads;
};

// Values and gradients of Σ r · f(inputs), r fixed random numbers.
Result run(const OpCase& op, const std::vector<Tensor>& inputs) {
  Vars leaves;
  for (const Tensor& t : inputs) leaves.emplace_back(t, true);
  const Var y = op.f(leaves);
  backward({y}, {random(y.shape(), 77, DType::f32).to(y.dtype())});
  Result r{y.value(), {}};
  for (const Var& v : leaves) r.grads.push_back(v.grad());
  return r;
}

std::vector<Tensor> inputs_of(const OpCase& op, DType dtype) {
  std::vector<Tensor> t;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) t.push_back(random(op.inputs[i], 10 + i, dtype, op.low, op.high));
  return t;
}

std::vector<Tensor> as(const std::vector<Tensor>& t, DType dtype) {
  std::vector<Tensor> r;
  for (const Tensor& e : t) r.push_back(e.to(dtype));
  return r;
}

class EveryOp : public testing::TestWithParam<OpCase> {};

TEST_P(EveryOp, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradcheck(GetParam().f, inputs_of(GetParam(), DType::f64), GetParam().f64_step));
}

TEST_P(EveryOp, StridedInputsGiveTheSame) {
  const OpCase& op = GetParam();
  const auto dense = inputs_of(op, DType::f64);
  std::vector<Tensor> strided;
  for (const Tensor& t : dense) strided.push_back(strided_copy(t));
  const Result want = run(op, dense), got = run(op, strided);
  const Tolerance tol = tolerance(DType::f64, op.reduction);
  EXPECT_TRUE(close(got.y, want.y, tol));
  for (std::size_t i = 0; i < dense.size(); ++i) EXPECT_TRUE(close(got.grads[i], want.grads[i], tol)) << "input " << i;
}

// The reference sees the same rounded inputs.
void against_f64(const OpCase& op, DType dtype) {
  const auto low = inputs_of(op, dtype);
  const Result got = run(op, low), want = run(op, as(low, DType::f64));
  const Tolerance tol = tolerance(dtype, op.reduction);
  EXPECT_EQ(got.y.dtype(), dtype);
  EXPECT_TRUE(close(got.y, want.y, tol));
  if (op.kink && dtype == DType::bf16) return;
  for (std::size_t i = 0; i < low.size(); ++i) EXPECT_TRUE(close(got.grads[i], want.grads[i], tol)) << "input " << i;
}

TEST_P(EveryOp, F32AgreesWithF64) { against_f64(GetParam(), DType::f32); }
TEST_P(EveryOp, Bf16AgreesWithF64) { against_f64(GetParam(), DType::bf16); }

INSTANTIATE_TEST_SUITE_P(List, EveryOp, testing::ValuesIn(op_list()), [](const auto& row) { return row.param.name; });

}  // namespace

void PrintTo(const OpCase& op, std::ostream* os) { *os << op.name; }

}  // namespace spn::test
