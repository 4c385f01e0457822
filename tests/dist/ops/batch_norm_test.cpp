// Batch norm over ranks is batch norm of the joined batch: outputs, all gradients, running statistics.
#include "engine/ops/batch_norm.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/dist/comm.h"
#include "tests/support/counting_comm.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::test {
namespace {

struct Out {
  Tensor y, dx, dw, db, dr, mean, var;
};

Out run(const Tensor& x, const Tensor& r, const Tensor& dy, ops::BatchNorm o, bool residual) {
  const std::int64_t c = x.dim(1);
  const DType t = x.dtype();
  const Tensor mean = random({c}, 5, t), var = random({c}, 6, t, 0.5, 2);
  const Var vx(x, true), w(random({c}, 2, t, 0.5, 1.5), true), b(random({c}, 3, t), true), vr(r, true);
  const Var y = ops::batch_norm(vx, w, b, mean, var, o, residual ? vr : Var());
  backward({y}, {dy});
  return {y.value(), vx.grad(), w.grad(), b.grad(), residual ? vr.grad() : Tensor(), mean, var};
}

TEST(BatchNormOverRanks, EqualsTheJoinedBatch) {
  dist::Comm& comm = world();
  for (const DType t : {DType::f64, DType::f32})
    for (const Shape& shape : {Shape{8, 5, 3, 2}, Shape{4, 16, 4, 4}, Shape{12, 7}})
      for (const bool training : {true, false})
        for (const bool relu : {false, true})
          for (const bool residual : {false, true}) {
            SCOPED_TRACE(fmt::format("{} {} training {} relu {} residual {} ranks {}", name_of(t), shape.str(),
                                     training, relu, residual, comm.size()));
            ops::BatchNorm o;
            o.training = training;
            o.relu = relu;
            // the same on every rank; the mean is far from zero, so that a wrong count shows
            const Tensor x = random(shape, 1, t, 1, 4), r = random(shape, 4, t), dy = random(shape, 9, t);
            const Out want = run(x, r, dy, o, residual);
            const std::int64_t n = shape[0] / comm.size(), from = n * comm.rank();
            const auto mine = [&](const Tensor& v) { return v.narrow(0, from, n); };
            o.comm = &comm;
            const Out got = run(mine(x), mine(r), mine(dy), o, residual);
            const Tolerance tol = tolerance(t, shape.numel() / shape[1]);
            EXPECT_TRUE(close(got.y, mine(want.y), tol));
            EXPECT_TRUE(close(got.dx, mine(want.dx), tol));
            if (residual) {
              EXPECT_TRUE(close(got.dr, mine(want.dr), tol));
            }
            // each rank holds its share of the weights' gradients: the reducer adds them
            const Tensor dw = got.dw.clone(), db = got.db.clone();
            comm.all_reduce(dw);
            comm.all_reduce(db);
            EXPECT_TRUE(close(dw, want.dw, tol));
            EXPECT_TRUE(close(db, want.db, tol));
            EXPECT_TRUE(close(got.mean, want.mean, tol));
            EXPECT_TRUE(close(got.var, want.var, tol));
          }
}

// f64 sums of exact squares: not only close, the statistics of fp32 batches are the same for 1, 2 and 4 ranks but for
// the last bit of a double.
TEST(BatchNormOverRanks, StatisticsDoNotDependOnTheSplit) {
  dist::Comm& comm = world();
  const Shape shape{16, 16, 8, 8};
  const Tensor x = random(shape, 1, DType::f32, -1, 3), dy = random(shape, 2, DType::f32);
  ops::BatchNorm o;
  const Out want = run(x, x, dy, o, false);
  o.comm = &comm;
  const std::int64_t n = 16 / comm.size();
  const Out got = run(x.narrow(0, n * comm.rank(), n), x.narrow(0, 0, n), dy.narrow(0, n * comm.rank(), n), o, false);
  EXPECT_TRUE(close(got.mean, want.mean, {1e-7, 0}));
  EXPECT_TRUE(close(got.var, want.var, {1e-7, 0}));
  EXPECT_TRUE(close(got.y, want.y.narrow(0, n * comm.rank(), n), {5e-7, 1e-6}));
}

TEST(BatchNormOverRanks, EvaluationDoesNotCommunicate) {
  dist::Comm& comm = world();
  if (comm.rank() != 0) return;  // would hang if rank 0 waited for the others
  ops::BatchNorm o;
  o.training = false;
  o.comm = &comm;
  const Tensor x = random({3, 4}, 1, DType::f32);
  EXPECT_TRUE(close(run(x, x, x, o, false).y, run(x, x, x, {.training = false}, false).y, {0, 0}));
}

TEST(BatchNormOverRanks, OneCollectiveForwardAndOneBackwardNoneAlone) {
  CountingComm comm(world());
  const Tensor x = random({4, 6, 3, 3}, 1, DType::f32);
  ops::BatchNorm o;
  o.relu = true;
  o.comm = &comm;
  run(x, x, x, o, true);
  EXPECT_EQ(comm.collectives, comm.size() == 1 ? 0 : 2);
}

}  // namespace
}  // namespace spn::test
