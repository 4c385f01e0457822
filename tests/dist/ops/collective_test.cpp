// Collective ops: values and gradients of N ranks against the joined batch on one.
#include "engine/ops/collective.h"

#include <gtest/gtest.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::test {
namespace {

const Tolerance kTol = tolerance(DType::f64, 64);

// All ranks' rows, the same everywhere, and this rank's.
Tensor whole(std::int64_t n, std::int64_t width) { return random({n * world().size(), width}, 4); }
Tensor mine(const Tensor& t) {
  const std::int64_t n = t.dim(0) / world().size();
  return t.narrow(0, world().rank() * n, n);
}

// A loss with terms between every pair of rows, as the contrastive one: Σ_i Σ_j w[i,j] · (x_i · z_j)².
Var pair_loss(const Var& rows, const Var& all, const Tensor& weights) {
  return ops::sum(ops::mul(ops::square(ops::matmul(rows, ops::transpose(all, 0, 1))), Var(weights)));
}

TEST(Collective, AllGatherGradientIsThatOfTheJoinedBatch) {
  for (std::int64_t n : {1, 3}) {
    const Tensor x = whole(n, 5), weights = random({x.dim(0), x.dim(0)}, 6);
    const Var joined(x.clone(), true);
    const Var total = pair_loss(joined, joined, weights);
    backward(total);

    const Var part(mine(x).clone(), true);
    const Var share = pair_loss(part, ops::all_gather(part, world()), mine(weights));
    backward(share);
    EXPECT_TRUE(close(part.grad(), mine(joined.grad()), kTol));
    EXPECT_TRUE(close(ops::all_reduce_sum(share, world()).value(), total.value(), kTol));
  }
}

TEST(Collective, ReduceScatterGradientIsThatOfTheSum) {
  const int ranks = world().size();
  // Every rank has its own [ranks · 2, 3]; rank r's result is block r of their sum.
  std::vector<Tensor> all;
  for (int r = 0; r < ranks; ++r) all.push_back(random({2 * ranks, 3}, 20 + static_cast<std::uint64_t>(r)));
  std::vector<Var> leaves;
  for (const Tensor& t : all) leaves.emplace_back(t.clone(), true);
  Var sum = leaves[0];
  for (int r = 1; r < ranks; ++r) sum = ops::add(sum, leaves[static_cast<std::size_t>(r)]);
  const Tensor weights = random(sum.shape(), 40);
  backward(ops::sum(ops::mul(ops::square(sum), Var(weights))));

  const Var x(all[static_cast<std::size_t>(world().rank())].clone(), true);
  const Var y = ops::reduce_scatter(x, world());
  EXPECT_TRUE(close(y.value(), mine(sum.value()), kTol));
  backward(ops::sum(ops::mul(ops::square(y), Var(mine(weights)))));
  EXPECT_TRUE(close(x.grad(), leaves[static_cast<std::size_t>(world().rank())].grad(), kTol));
}

TEST(Collective, AllReduceGradientIsThatOfTheSum) {
  const int ranks = world().size();
  const Tensor x = whole(1, 7);
  const Var joined(x.clone(), true);
  const Var total = ops::sum(joined, {0});
  // Every rank's scalar looks at the whole sum with its own weights; the loss is the sum of the scalars.
  Var loss;
  for (int r = 0; r < ranks; ++r) {
    const Var scalar = ops::sum(ops::mul(ops::square(total), Var(random({7}, 50 + static_cast<std::uint64_t>(r)))));
    loss = loss ? ops::add(loss, scalar) : scalar;
  }
  backward(loss);

  const Var part(mine(x).clone(), true);
  const Var y = ops::all_reduce_sum(ops::reshape(part, {7}), world());
  EXPECT_TRUE(close(y.value(), total.value(), kTol));
  backward(ops::sum(ops::mul(ops::square(y), Var(random({7}, 50 + static_cast<std::uint64_t>(world().rank()))))));
  EXPECT_TRUE(close(part.grad(), mine(joined.grad()), kTol));
}

TEST(Collective, StridedRowsAndF32) {
  const Tensor x = whole(2, 6).to(DType::f32);
  const Var part(strided_copy(mine(x)), true);
  const Var y = ops::all_gather(part, world());
  EXPECT_TRUE(close(y.value(), x, {0, 0}));
  backward({y}, {Tensor::full(y.shape(), 1)});
  EXPECT_TRUE(close(part.grad(), Tensor::full(part.shape(), world().size()), {0, 0}));
}

TEST(Collective, RefusesRowsThatDoNotDivide) {
  if (world().size() == 1) return;  // everything divides by one
  try {
    ops::reduce_scatter(Var(Tensor::zeros({world().size() + 1, 2})), world());
    FAIL() << "expected a refusal";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("[reduce_scatter] expected rows in a multiple of"), std::string::npos);
  }
}

}  // namespace
}  // namespace spn::test
