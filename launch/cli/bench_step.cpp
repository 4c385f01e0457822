#include "launch/cli/bench_step.h"

#include <algorithm>
#include <iostream>

#include "engine/core/json.h"
#include "engine/core/philox.h"
#include "engine/core/stopwatch.h"
#include "engine/train/trainer.h"
#include "kernels/profile.h"
#include "kernels/table.h"
#include "launch/bench/profile.h"
#include "launch/cli/model_options.h"
#include "launch/cli/pretrain_options.h"
#include "launch/cli/threads.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

using bench::median;
using Json = nlohmann::ordered_json;

// Random pixels and expression: the step's time does not depend on values.
train::Batch random_batch(const models::Config& c, bool features, std::int64_t rows, std::int64_t first) {
  PhiloxStream rng(1, RandomUse::test, static_cast<std::uint64_t>(first));
  const auto pixels = [&](std::int64_t px) {
    std::vector<std::uint8_t> v(static_cast<std::size_t>(rows * px * px * 3));
    for (auto& e : v) e = static_cast<std::uint8_t>(rng.next_u32());
    return Tensor::from(v, {rows, px, px, 3});
  };
  const auto genes = [&](std::int64_t n) {
    std::vector<float> v(static_cast<std::size_t>(rows * n));
    for (auto& e : v) e = rng.uniform();
    return Tensor::from(v, {rows, n});
  };
  train::Batch b;
  b.first_sample = first;
  b.spot_image = pixels(c.spot_image_px);
  if (features)
    b.niche_feature = genes(c.vit_width);
  else
    b.niche_image = pixels(c.niche_image_px);
  b.spot_gene = genes(c.spot_gene_width);
  b.niche_gene = genes(c.genes);
  b.slide = Tensor::zeros({rows}, DType::i32);
  b.cluster = Tensor::full({rows}, -1, DType::i32);
  b.xy_um = Tensor::zeros({rows, 2});
  return b;
}

}  // namespace

int run_bench_step(dist::Comm& world, const std::vector<std::string>& args) {
  PretrainOptions o;
  o.steps = 20;
  std::int64_t warm_up = 5;
  bool profile = false, features = false;
  Options options(
      "bench step",
      "Times training steps on random data: everything but reading. Options as of pretrain that matter here.");
  options.add("steps", &o.steps, "timed steps");
  options.add("warm-up", &warm_up, "steps before them");
  options.add("global-batch", &o.global_batch, "pairs a step over all ranks");
  options.add("micro-batch", &o.micro_batch, "pairs a rank embeds at once, 0: all");
  options.add("features", &features, "cached features of the frozen ViT in place of niche images");
  options.add("batch-norm", &o.batch_norm, "as of pretrain");
  options.choices("batch-norm", {"sync", "local", "frozen"});
  o.precision.add_to(options);
  o.device.add_to(options);
  options.add("cuda-graph", &o.cuda_graph, "as of pretrain");
  options.choices("cuda-graph", {"auto", "off"});
  options.add("profile", &profile, "also print the time by kernel; on a GPU by its clock, and without a CUDA graph");
  add_model_options(options, o.model);
  if (!options.parse(args, std::cout)) return exit_ok;
  o.check(world.size());
  if (warm_up < 0) fail_usage("bench step", "--warm-up: expected 0 or more, got {}", warm_up);
  o.model.validate();
  if (features && !o.model.vit_frozen)
    fail_usage("bench step",
               "--features: expected a model with --vit-frozen, got one that trains its niche image encoder");
  const int threads = settle_threads();
  o.device.open(world, o.precision);
  // the device's clock is read around each entry, which a captured step does not call
  if (profile && o.device.device().type == DeviceType::cuda) o.cuda_graph = "off";
  models::StAlign model(o.model, o.seed, o.device.device());
  const auto optimizer = o.make_optimizer(model);
  const std::int64_t rows = o.global_batch / world.size();
  train::Trainer trainer(model, *optimizer, o.device.comm(world), o.trainer(), rows);
  train::Batch batch = random_batch(o.model, features, rows, rows * world.rank());
  std::vector<double> seconds, forward, backward, comm, update;
  trainer.stage(batch);
  // as the training loop does: on a device the host is a step ahead, and a step takes from one's results to the next's
  const std::int64_t ahead = o.device.device().type == DeviceType::cpu ? 0 : 1;
  std::int64_t begun = 0;
  for (std::int64_t step = 0; step < warm_up + o.steps + ahead; ++step) {
    if (step == warm_up + ahead && profile) bench::start_profile(o.device.device());
    const Stopwatch watch;
    trainer.begin({1e-4, 0.04, 0});
    batch.step = step + 1;
    trainer.stage(batch);
    if (++begun <= ahead) continue;
    const auto r = trainer.finish();
    --begun;
    if (step < warm_up + ahead) continue;
    seconds.push_back(watch.seconds());
    forward.push_back(r.forward_s);
    backward.push_back(r.backward_s);
    comm.push_back(r.comm_s);
    update.push_back(r.optimizer_s);
  }
  const std::size_t peak = kernels::table_for(o.device.device()).memory().peak;
  const auto profiled = kernels::profile_stop();  // empty where nothing was profiled
  const bench::Rates rates =
      profile ? bench::measure_rates(world, o.device.device(), o.precision.dtype()) : bench::Rates{};
  if (world.rank() != 0) return exit_ok;
  const double s = median(seconds);
  const Json j = {{"bench", "step"},
                  {"version", version()},
                  {"ranks", world.size()},
                  {"threads", threads},
                  {"device", o.device.description()},
                  {"cuda_graph", o.cuda_graph},
                  {"precision", o.precision.name},
                  {"global_batch", o.global_batch},
                  {"micro_batch", o.micro_batch},
                  {"batch_norm", o.batch_norm},
                  {"features", features},
                  {"parameters", model.registry().count()},
                  {"steps", o.steps},
                  {"step_s", s},
                  {"pairs_per_s", static_cast<double>(o.global_batch) / s},
                  {"step_s_min", *std::min_element(seconds.begin(), seconds.end())},
                  {"forward_s", median(forward)},
                  {"backward_s", median(backward)},
                  {"comm_s", median(comm)},
                  {"optimizer_s", median(update)},
                  {"peak_bytes", peak}};
  std::cout << json_text(j) << "\n";
  std::cout << fmt::format(
      "{:.1f} pairs/s: step {:.1f} ms (forward {:.1f}, backward {:.1f}, optimiser {:.1f}; blocked in collectives "
      "{:.1f}); median of {}\n",
      static_cast<double>(o.global_batch) / s, s * 1e3, median(forward) * 1e3, median(backward) * 1e3,
      median(update) * 1e3, median(comm) * 1e3, o.steps);
  if (profile) {
    double total = 0;
    for (const double t : seconds) total += t;
    std::cout << bench::profile_lines(profiled, total, o.steps, rates);
  }
  return exit_ok;
}

}  // namespace spn::cli
