#include "launch/bench/loss.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include "engine/core/philox.h"
#include "engine/core/stopwatch.h"
#include "engine/ops/contrastive.h"
#include "kernels/table.h"
#include "launch/bench/profile.h"
#include "launch/bench/rates.h"

namespace spn::bench {
namespace {

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

// n unit rows; with `near`, their mean with a random unit row, so that positives stand out.
Tensor unit_rows(std::int64_t n, std::int64_t d, std::uint64_t stream, const Tensor& near) {
  PhiloxStream rng(1, RandomUse::test, stream);
  const Tensor t = Tensor::empty({n, d});
  auto* v = t.data<float>();
  for (std::int64_t i = 0; i < n; ++i) {
    double squares = 0;
    for (std::int64_t k = i * d; k < (i + 1) * d; ++k) {
      const double e = (rng.uniform() - 0.5) * std::sqrt(12.0 / static_cast<double>(d));  // of length about 1
      v[k] = static_cast<float>(e) + (near ? near.data<float>()[k] : 0.0F);
      squares += static_cast<double>(v[k]) * static_cast<double>(v[k]);
    }
    for (std::int64_t k = i * d; k < (i + 1) * d; ++k) v[k] = static_cast<float>(v[k] / std::sqrt(squares));
  }
  return t;
}

ops::PairFacts random_facts(const LossCase& what, std::int64_t n, dist::Comm& world) {
  ops::PairFacts f{.kind = what.negatives, .radius_um = what.radius_um};
  if (f.kind == kernels::Negatives::all) return f;
  PhiloxStream rng(1, RandomUse::test, 1000 + static_cast<std::uint64_t>(world.rank()));
  std::vector<std::int32_t> slide, cluster;
  std::vector<float> xy;
  for (std::int64_t i = 0; i < n; ++i) {
    slide.push_back(static_cast<std::int32_t>(rng.below(8)));
    cluster.push_back(static_cast<std::int32_t>(rng.below(6)) - 1);
    for (int k = 0; k < 2; ++k) xy.push_back(rng.uniform() * 6500);
  }
  f.slide = Tensor::from(slide, {n}, what.device);
  f.cluster = Tensor::from(cluster, {n}, what.device);
  f.xy = Tensor::from(xy, {n, 2}, what.device);
  ops::gather_facts(f, world);
  return f;
}

}  // namespace

LossFigure measure_loss(const LossCase& what, dist::Comm& world) {
  if (what.global_batch < 1 || what.width < 1 || what.repeats < 1 || what.global_batch % world.size() != 0)
    fail_usage("bench loss",
               "expected positive --width, --repeats and a --global-batch that {} ranks divide, got {}, {} and {}",
               world.size(), what.width, what.repeats, what.global_batch);
  const std::int64_t n = what.global_batch / world.size(), d = what.width;
  const auto rank = static_cast<std::uint64_t>(world.rank());
  const Tensor xv = unit_rows(n, d, 2 * rank, Tensor()), yv = unit_rows(n, d, 2 * rank + 1, xv);
  const Var x(xv.to(what.device), true), y(yv.to(what.device), true),
      scale(Tensor::full({1}, what.scale, DType::f32, what.device), true);
  const ops::PairFacts facts = random_facts(what, n, world);

  LossFigure f;
  const kernels::Table& table = kernels::table_for(what.device);
  table.reset_peak();
  const std::int64_t given = static_cast<std::int64_t>(table.memory().in_use), resident = peak_resident_bytes();
  const auto outputs = static_cast<std::int64_t>(xv.bytes() + yv.bytes());
  const int profile_from = std::min(1, what.repeats - 1);
  double profiled = 0;
  for (int i = 0; i < what.repeats; ++i) {
    if (what.profile && i == profile_from) start_profile(what.device);
    for (const Var* v : {&x, &y, &scale}) v->clear_grad();
    world.barrier();
    const Stopwatch watch;
    const auto r = ops::contrastive(x, y, scale, facts, world, what.products);
    table.sync();
    const double forward = watch.seconds();
    backward(r.loss);
    table.sync();
    world.barrier();
    const double all = watch.seconds();
    f.loss = r.total.item();
    if (i >= profile_from) profiled += all;
    if (i == 0 || all < f.seconds) {
      f.seconds = all;
      f.forward_s = forward;
      f.backward_s = all - forward;
    }
  }
  const auto rows = kernels::profile_stop();  // empty where nothing was profiled
  f.extra_bytes = static_cast<std::int64_t>(table.memory().peak) - given - outputs;
  f.rss_growth_bytes = std::max<std::int64_t>(0, peak_resident_bytes() - resident - outputs);
  std::int64_t most[2] = {f.extra_bytes, f.rss_growth_bytes};
  world.all_reduce(host_view(most, {2}), dist::ReduceOp::max);
  f.extra_bytes = most[0];
  f.rss_growth_bytes = most[1];
  double seconds[3] = {f.seconds, f.forward_s, f.backward_s};
  world.broadcast(host_view(seconds, {3}), 0);
  f.seconds = seconds[0];
  f.forward_s = seconds[1];
  f.backward_s = seconds[2];
  const auto b = static_cast<double>(what.global_batch);
  f.gflops = 8 * b * b * static_cast<double>(d) / f.seconds * 1e-9;
  f.matmul_size = matmul_size(what.device, what.matmul_size);
  // last: it would raise the resident set
  f.matmul_gflops = matmul_gflops(world, what.device, f.matmul_size, what.products);
  if (what.profile)
    f.profile = profile_lines(rows, profiled, what.repeats - profile_from,
                              {copy_gb_per_s(what.device), f.matmul_gflops / world.size()});
  return f;
}

}  // namespace spn::bench
