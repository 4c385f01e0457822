// The streamed contrastive loss against brute force on the joined batch, the dense composition, PyTorch and numeric
// gradients; at any number of ranks.
#include "engine/ops/contrastive.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <limits>

#include "engine/ops/elementwise.h"
#include "engine/ops/norm.h"
#include "kernels/table.h"
#include "tests/dist/ops/info_nce_reference.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::ops {
namespace {

using kernels::Negatives;
using test::close;
using test::random;

// A batch that every rank can make whole: unit rows (or as given), slides, places and clusters.
struct Joined {
  Tensor x, y;  // f64 [b,d]
  double scale = 10;
  Negatives kind = Negatives::all;
  double radius_um = 150;
  std::vector<std::int32_t> slide, cluster;
  std::vector<float> xy;

  bool counts(std::size_t i, std::size_t j) const {
    if (kind == Negatives::all || slide[i] != slide[j]) return true;
    if (kind == Negatives::other_cluster) return cluster[i] < 0 || cluster[j] < 0 || cluster[i] != cluster[j];
    const double dx = xy[2 * i] - xy[2 * j], dy = xy[2 * i + 1] - xy[2 * j + 1];
    return std::sqrt(dx * dx + dy * dy) >= radius_um;
  }
  test::InfoNce reference() const {
    return test::info_nce_reference(x, y, scale, [&](std::size_t i, std::size_t j) { return counts(i, j); });
  }
};

Tensor unit_rows(const Tensor& t) {
  auto v = t.to_vector<double>();
  const auto d = static_cast<std::size_t>(t.dim(1));
  for (std::size_t i = 0; i < v.size(); i += d) {
    double s = 0;
    for (std::size_t k = 0; k < d; ++k) s += v[i + k] * v[i + k];
    for (std::size_t k = 0; k < d; ++k) v[i + k] /= std::sqrt(s);
  }
  return Tensor::from(v, t.shape());
}

Joined make(std::int64_t b, std::int64_t d, double scale, Negatives kind, std::uint64_t stream) {
  Joined j;
  j.x = unit_rows(random({b, d}, stream));
  // half way to x: positives stand out, as in training
  j.y = unit_rows(add(Var(random({b, d}, stream + 1)), Var(j.x)).value());
  j.scale = scale;
  j.kind = kind;
  const auto place = random({b, 2}, stream + 2, DType::f64, 0, 600).to_vector<double>();
  const auto draw = random({b, 2}, stream + 3, DType::f64, 0, 1).to_vector<double>();
  for (std::size_t i = 0; i < static_cast<std::size_t>(b); ++i) {
    j.slide.push_back(static_cast<std::int32_t>(draw[2 * i] * 3));
    j.cluster.push_back(static_cast<std::int32_t>(draw[2 * i + 1] * 4) - 1);  // -1: unknown
    // on a grid of 100 µm: many pairs lie exactly at distances, none within rounding of the radius of 150
    j.xy.push_back(static_cast<float>(std::floor(place[2 * i] / 100) * 100));
    j.xy.push_back(static_cast<float>(std::floor(place[2 * i + 1] / 100) * 100));
  }
  return j;
}

using Loss = ContrastiveResult (*)(const Var&, const Var&, const Var&, const PairFacts&, dist::Comm&);
ContrastiveResult streamed(const Var& x, const Var& y, const Var& scale, const PairFacts& facts, dist::Comm& comm) {
  return contrastive(x, y, scale, facts, comm);
}

struct Outcome {
  double share, total, accuracy;
  Tensor dx, dy, dscale;  // dscale summed over ranks
};

Outcome run(Loss loss, const Joined& j, DType dtype, dist::Comm& comm, double upstream = 1) {
  const std::int64_t b = j.x.dim(0), n = b / comm.size(), first = n * comm.rank();
  const auto mine = [&](const Tensor& t) { return t.narrow(0, first, n).clone(); };
  const Var x(mine(j.x).to(dtype), true), y(mine(j.y).to(dtype), true), scale(Tensor::full({1}, j.scale, dtype), true);
  PairFacts facts{.kind = j.kind, .radius_um = j.radius_um};
  facts.slide = mine(Tensor::from(j.slide, {b}));
  facts.cluster = mine(Tensor::from(j.cluster, {b}));
  facts.xy = mine(Tensor::from(j.xy, {b, 2}));
  gather_facts(facts, comm);
  const auto r = loss(x, y, scale, facts, comm);
  backward({r.loss}, {Tensor::full({}, upstream, dtype)});
  const Tensor dscale = scale.grad().clone();
  comm.all_reduce(dscale);
  return {r.loss.value().item(), r.total.item(), r.accuracy.item(), x.grad(), y.grad(), dscale};
}

// Gradients are differences of probabilities times scale / 2B: compared on the scale of the largest, and of the
// rounding of logits (eps · scale) in each probability.
test::Tolerance gradient_tolerance(DType t, double scale, const Tensor& want) {
  double most = 0;
  for (double v : want.to_vector<double>()) most = std::max(most, std::abs(v));
  const double eps = t == DType::f64 ? 2.3e-16 : 1.2e-7, probability = eps * std::max(10.0, scale);
  return {3 * probability, 3 * probability * most + 4 * probability * scale / (2.0 * static_cast<double>(want.dim(0)))};
}

void expect_like(const Outcome& got, const test::InfoNce& want, const Joined& j, DType dtype, dist::Comm& comm) {
  const std::int64_t n = j.x.dim(0) / comm.size(), first = n * comm.rank();
  const auto part = [&](const Tensor& t) { return t.narrow(0, first, n); };
  const double tol = dtype == DType::f64 ? 1e-12 : 2e-7 * std::max(10.0, j.scale);
  EXPECT_NEAR(got.total, want.loss, tol * (1 + want.loss));
  double sum = got.share;
  comm.all_reduce(host_view(&sum, {1}));
  EXPECT_NEAR(sum, want.loss, tol * (1 + want.loss));
  EXPECT_NEAR(got.accuracy, want.accuracy, 1e-12);
  const auto same_x = close(got.dx, part(want.dx), gradient_tolerance(dtype, j.scale, want.dx));
  const auto same_y = close(got.dy, part(want.dy), gradient_tolerance(dtype, j.scale, want.dy));
  EXPECT_TRUE(same_x) << "dx: " << same_x;
  EXPECT_TRUE(same_y) << "dy: " << same_y;
  EXPECT_NEAR(got.dscale.item(), want.dscale, (dtype == DType::f64 ? 1e-12 : 2e-6) * (1 + std::abs(want.dscale)));
}

struct Size {
  std::int64_t n, d;  // rows a rank, width
  double scale;
};

// Crossing the panel (256 rows) and tile (512 columns) edges, odd, tiny and one-dimensional.
const Size kSizes[] = {{1, 5, 10}, {3, 1, 10}, {7, 33, 10}, {65, 16, 10}, {300, 12, 14.3}, {37, 20, 100}, {150, 8, 45}};

TEST(Contrastive, EqualsBruteForceOnTheJoinedBatch) {
  dist::Comm& comm = test::world();
  std::uint64_t stream = 100;
  for (const Size& s : kSizes)
    for (const Negatives kind : {Negatives::all, Negatives::exclude_radius, Negatives::other_cluster})
      for (const DType dtype : {DType::f64, DType::f32}) {
        const Joined j = make(s.n * comm.size(), s.d, s.scale, kind, stream += 10);
        SCOPED_TRACE(fmt::format("{} rows a rank, width {}, scale {}, rule {}, {}", s.n, s.d, s.scale,
                                 static_cast<int>(kind), name_of(dtype)));
        expect_like(run(streamed, j, dtype, comm), j.reference(), j, dtype, comm);
      }
}

TEST(Contrastive, RulesDoExclude) {
  // The batches above do hold excluded pairs of both rules; otherwise they would test nothing.
  for (const Negatives kind : {Negatives::exclude_radius, Negatives::other_cluster}) {
    const Joined j = make(64, 4, 10, kind, 7);
    int out = 0;
    for (std::size_t a = 0; a < 64; ++a)
      for (std::size_t b = 0; b < 64; ++b) {
        EXPECT_EQ(j.counts(a, b), j.counts(b, a));
        if (a != b && !j.counts(a, b)) ++out;
      }
    EXPECT_GT(out, 50);
    EXPECT_LT(out, 2000);
  }
}

TEST(Contrastive, EqualsDenseComposition) {
  dist::Comm& comm = test::world();
  std::uint64_t stream = 5000;
  for (const Size& s : kSizes)
    for (const Negatives kind : {Negatives::all, Negatives::exclude_radius, Negatives::other_cluster}) {
      if (s.n * comm.size() > 400) continue;
      const Joined j = make(s.n * comm.size(), s.d, s.scale, kind, stream += 10);
      SCOPED_TRACE(
          fmt::format("{} rows a rank, width {}, scale {}, rule {}", s.n, s.d, s.scale, static_cast<int>(kind)));
      const Outcome got = run(streamed, j, DType::f64, comm), want = run(contrastive_dense, j, DType::f64, comm);
      EXPECT_NEAR(got.share, want.share, 1e-12 * (1 + want.share));
      EXPECT_NEAR(got.total, want.total, 1e-12 * (1 + want.total));
      EXPECT_NEAR(got.accuracy, want.accuracy, 1e-12);
      EXPECT_TRUE(close(got.dx, want.dx, {1e-10, 1e-13}));
      EXPECT_TRUE(close(got.dy, want.dy, {1e-10, 1e-13}));
      EXPECT_TRUE(close(got.dscale, want.dscale, {1e-10, 1e-13}));
    }
}

TEST(Contrastive, ManyRanksEqualOneRankOnTheJoinedBatch) {
  dist::Comm& comm = test::world();
  const auto self = dist::make_self();
  const Joined j = make(24 * comm.size(), 16, 10, Negatives::all, 900);
  const Outcome many = run(streamed, j, DType::f64, comm, 0.3), one = run(streamed, j, DType::f64, *self, 0.3);
  EXPECT_NEAR(many.total, one.total, 1e-13);
  EXPECT_EQ(many.accuracy, one.accuracy);
  EXPECT_TRUE(close(many.dx, one.dx.narrow(0, 24 * comm.rank(), 24), {1e-12, 1e-15}));
  EXPECT_TRUE(close(many.dy, one.dy.narrow(0, 24 * comm.rank(), 24), {1e-12, 1e-15}));
  EXPECT_TRUE(close(many.dscale, one.dscale, {1e-12, 1e-15}));
}

TEST(Contrastive, OnePairAndRowsWithoutNegativesLoseNothing) {
  const auto self = dist::make_self();
  for (const double scale : {10.0, 100.0}) {
    Joined j = make(1, 6, scale, Negatives::all, 40);
    const Outcome one = run(streamed, j, DType::f32, *self);
    EXPECT_NEAR(one.total, 0, 1e-6);
    EXPECT_EQ(one.accuracy, 1);
    EXPECT_TRUE(close(one.dx, Tensor::zeros({1, 6}), {0, 2e-5}));
  }
  dist::Comm& comm = test::world();
  Joined j = make(9 * comm.size(), 6, 10, Negatives::other_cluster, 50);
  std::fill(j.slide.begin(), j.slide.end(), 2);
  std::fill(j.cluster.begin(), j.cluster.end(), 0);
  const Outcome none = run(streamed, j, DType::f64, comm);
  EXPECT_NEAR(none.total, 0, 1e-12);
  EXPECT_EQ(none.accuracy, 1);
  EXPECT_TRUE(close(none.dx, Tensor::zeros({9, 6}, DType::f64), {0, 1e-13}));
  EXPECT_TRUE(close(none.dy, Tensor::zeros({9, 6}, DType::f64), {0, 1e-13}));
  EXPECT_NEAR(none.dscale.item(), 0, 1e-12);
}

TEST(Contrastive, DuplicatesShareProbabilityAndAreNoHits) {
  dist::Comm& comm = test::world();
  Joined j = make(8 * comm.size(), 4, 10, Negatives::all, 60);
  const std::int64_t b = j.x.dim(0);
  j.x = j.x.narrow(0, 0, 1).expand({b, 4}).clone();
  j.y = j.x.clone();
  const Outcome same = run(streamed, j, DType::f32, comm);
  EXPECT_NEAR(same.total, std::log(static_cast<double>(b)), 1e-5);
  EXPECT_EQ(same.accuracy, b == 1 ? 1 : 0);
}

TEST(Contrastive, LargeLogitsOfRowsThatAreNotUnit) {
  dist::Comm& comm = test::world();
  Joined j = make(11 * comm.size(), 3, 100, Negatives::all, 70);
  j.x = affine(Var(j.x), 2).value();  // logits up to ±200: e^S overflows fp32
  const Outcome got = run(streamed, j, DType::f32, comm);
  const auto want = j.reference();
  EXPECT_NEAR(got.total, want.loss, 1e-4 * (1 + want.loss));
  for (double v : got.dx.to_vector<double>()) EXPECT_TRUE(std::isfinite(v));
  const auto same =
      close(got.dx, want.dx.narrow(0, 11 * comm.rank(), 11), gradient_tolerance(DType::f32, 200, want.dx));
  EXPECT_TRUE(same) << same;
}

TEST(Contrastive, NanIsNotHidden) {
  const auto self = dist::make_self();
  for (const double scale : {1.0, 100.0}) {
    Joined j = make(40, 4, scale, Negatives::all, 80);
    auto v = j.x.to_vector<double>();
    v[17] = std::numeric_limits<double>::quiet_NaN();
    j.x = Tensor::from(v, {40, 4});
    const Outcome got = run(streamed, j, DType::f32, *self);
    EXPECT_TRUE(std::isnan(got.total));
    EXPECT_TRUE(std::isnan(got.dy.to_vector<double>()[0]));
  }
}

TEST(Contrastive, ThreadsChangeRoundingOnlyAndRunsRepeat) {
  const auto self = dist::make_self();
  const int before = omp_get_max_threads();
  const Joined j = make(600, 24, 10, Negatives::exclude_radius, 90);
  const auto want = j.reference();
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    SCOPED_TRACE(threads);
    const Outcome a = run(streamed, j, DType::f32, *self), b = run(streamed, j, DType::f32, *self);
    expect_like(a, want, j, DType::f32, *self);
    EXPECT_EQ(a.total, b.total);
    EXPECT_EQ(a.dx.to_vector<float>(), b.dx.to_vector<float>());
    EXPECT_EQ(a.dy.to_vector<float>(), b.dy.to_vector<float>());
    EXPECT_EQ(a.dscale.item(), b.dscale.item());
  }
  omp_set_num_threads(before);
}

TEST(Contrastive, GradientsAgreeWithDifferences) {
  const auto self = dist::make_self();
  for (const Negatives kind : {Negatives::all, Negatives::other_cluster}) {
    const Joined j = make(6, 5, 10, kind, 95);
    PairFacts facts{.kind = kind};
    facts.slide = Tensor::from(j.slide, {6});
    facts.cluster = Tensor::from(j.cluster, {6});
    gather_facts(facts, *self);
    // rows normalised and the scale as exp(log scale), as in the model
    const auto loss = [&](const std::vector<Var>& v) {
      return contrastive(l2_normalise(v[0]), l2_normalise(v[1]), exp(v[2]), facts, *self).loss;
    };
    const auto checked =
        test::gradcheck(loss, {random({6, 5}, 96), random({6, 5}, 97), Tensor::full({1}, 2.3, DType::f64)});
    EXPECT_TRUE(checked) << checked;
  }
}

TEST(Contrastive, MemoryGrowsWithRowsAndNotWithTheirSquare) {
  const auto self = dist::make_self();
  const kernels::Table& table = kernels::cpu_table();
  const auto extra = [&](std::int64_t b) {
    const Var x(random({b, 8}, 13, DType::f32), true), y(random({b, 8}, 14, DType::f32), true),
        scale(Tensor::full({1}, 3), true);
    table.reset_peak();
    const std::size_t before = table.memory().in_use;
    backward(contrastive(x, y, scale, {}, *self).loss);
    return static_cast<double>(table.memory().peak - before);
  };
  const double small = extra(1024), large = extra(8192);
  EXPECT_LT(large, 8 * small + 1e6);
  EXPECT_LT(large, 0.02 * 8192.0 * 8192.0 * 4.0);  // of the logits
}

TEST(Contrastive, FrozenInputsGetNoGradient) {
  dist::Comm& comm = test::world();
  const Var x(random({4, 3}, 11, DType::f32), true), y(random({4, 3}, 12, DType::f32)), scale(Tensor::full({1}, 10));
  backward(contrastive(x, y, scale, {}, comm).loss);
  EXPECT_TRUE(x.grad());
  EXPECT_FALSE(y.grad());
  EXPECT_FALSE(scale.grad());
}

TEST(Contrastive, EqualsPyTorch) {
  const test::Golden golden("contrastive");
  const auto self = dist::make_self();
  for (const std::string& name : golden.cases()) {
    SCOPED_TRACE(name);
    const auto get = [&](const char* what) { return golden.tensor(name + "." + what).to(DType::f64); };
    const Tensor x = get("x"), y = get("y");
    const auto keep = get("keep").to_vector<double>();
    const auto b = static_cast<std::size_t>(x.dim(0));
    const double scale = std::exp(get("logit_scale").item());
    // rows are normalised inside the golden loss; first the reference of these tests, on unit rows
    const auto want = test::info_nce_reference(unit_rows(x), unit_rows(y), scale,
                                               [&](std::size_t i, std::size_t j) { return keep[i * b + j] != 0; });
    EXPECT_NEAR(want.loss, get("loss").item(), 1e-6 * (1 + want.loss));
    EXPECT_NEAR(want.dscale * scale, get("grad_logit_scale").item(), 1e-6 * (1 + std::abs(want.dscale * scale)));
    if (name == "masked") continue;  // an arbitrary mask is no rule of ours: only the reference takes it
    for (const DType dtype : {DType::f64, DType::f32}) {
      const Var vx(x.to(dtype), true), vy(y.to(dtype), true), ls(get("logit_scale").to(dtype), true);
      const auto r = contrastive(l2_normalise(vx), l2_normalise(vy), exp(ls), {}, *self);
      backward(r.loss);
      const double tol = dtype == DType::f64 ? 1e-6 : 1e-5;
      EXPECT_NEAR(r.total.item(), get("loss").item(), tol * (1 + want.loss));
      EXPECT_TRUE(close(vx.grad(), get("grad_x"), {tol, tol})) << close(vx.grad(), get("grad_x"), {tol, tol});
      EXPECT_TRUE(close(vy.grad(), get("grad_y"), {tol, tol})) << close(vy.grad(), get("grad_y"), {tol, tol});
      EXPECT_TRUE(close(ls.grad(), get("grad_logit_scale"), {10 * tol, 10 * tol}));
    }
  }
}

TEST(Contrastive, WrongShapesExplainThemselves) {
  const auto self = dist::make_self();
  const Var x(random({4, 3}, 1, DType::f32)), y(random({5, 3}, 2, DType::f32)), scale(Tensor::full({1}, 10));
  const auto message = [&](const Var& a, const Var& b, const PairFacts& f) -> std::string {
    try {
      contrastive(a, b, scale, f, *self);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message(x, y, {}).find("expected y of shape [4, 3], got [5, 3]"), std::string::npos);
  EXPECT_NE(message(x, x, {.kind = Negatives::other_cluster}).find("expected slide"), std::string::npos);
  EXPECT_NE(message(Var(x.value().to(DType::bf16)), Var(x.value().to(DType::bf16)), {}).find("contrastive"),
            std::string::npos);
}

}  // namespace
}  // namespace spn::ops
