// pretrain: packs -> a run directory with metrics and restartable checkpoints.
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <set>

#include "engine/core/file.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "engine/train/loop.h"
#include "launch/cli/checkpoint_files.h"
#include "launch/cli/command.h"
#include "launch/cli/features.h"
#include "launch/cli/load_model.h"
#include "launch/cli/pretrain_options.h"
#include "launch/cli/run_folder.h"
#include "launch/cli/signals.h"
#include "launch/cli/sources.h"
#include "launch/cli/threads.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// What the run learns from, for events.jsonl and the card of an export: file names without their folders.
std::map<std::string, train::EventValue> data_fields(const data::PackSet& packs, const std::string& fingerprint) {
  std::string files;
  std::set<std::string> species, technologies;
  std::int64_t slides = 0;
  for (std::size_t p = 0; p < packs.packs(); ++p) {
    files += (files.empty() ? "" : ", ") + fs::path(packs.pack(p).path()).filename().string();
    slides += static_cast<std::int64_t>(packs.pack(p).slides().size());
    for (const auto& s : packs.pack(p).slides()) {
      if (!s.species.empty()) species.insert(s.species);
      if (!s.technology.empty()) technologies.insert(s.technology);
    }
  }
  return {{"packs", files},
          {"slides", slides},
          {"pairs", packs.rows()},
          {"genes", packs.header().niche_genes},
          {"species", fmt::format("{}", fmt::join(species, ", "))},
          {"technologies", fmt::format("{}", fmt::join(technologies, ", "))},
          {"fingerprint", fingerprint}};
}

// One rank reads the packs for it. Collective.
std::string pack_fingerprint(dist::Comm& world, const data::PackSet& packs) {
  std::string out;
  dist::together(world, "packs", [&] {
    if (world.rank() == 0) out = packs.fingerprint();
  });
  auto size = static_cast<std::int64_t>(out.size());
  world.broadcast(host_view(&size, {1}), 0);
  out.resize(static_cast<std::size_t>(size));
  world.broadcast(host_view(reinterpret_cast<std::uint8_t*>(out.data()), {size}), 0);
  return out;
}

// The checkpoint to go on from, empty: a fresh run. The same answer on all ranks (rank 0 looks).
std::string choose_start(dist::Comm& world, const PretrainOptions& o) {
  std::string start;
  dist::together(world, "resume", [&] {
    if (world.rank() != 0 || o.resume == "never") return;
    if (o.resume == "auto") {
      start = ckpt::find_latest(o.output).value_or("");
    } else {
      std::error_code none;
      start = resolve_checkpoint(o.resume);
      if (!fs::exists(start, none))
        fail_data("resume", "no such folder {}; give a folder step-NNNNNNNN or a run directory", o.resume);
    }
  });
  return dist::all_gather_strings(world, start)[0];
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::vector<std::string> distinct(const std::vector<std::string>& all) {
  std::vector<std::string> out;
  for (const auto& s : all)
    if (std::find(out.begin(), out.end(), s) == out.end()) out.push_back(s);
  return out;
}

// Where the ranks are, each named once, in the order of the ranks. Collective.
struct Places {
  std::vector<std::string> hosts, devices;
  Places(dist::Comm& world, const DeviceChoice& device)
      : hosts(distinct(dist::all_gather_strings(world, host_name()))),
        devices(distinct(dist::all_gather_strings(world, device.description()))) {}
};

// A rule that excludes by label excludes nothing where there are none.
void require_labels(const data::PackSet& packs) {
  std::int64_t unknown = 0;
  for (std::size_t p = 0; p < packs.packs(); ++p)
    for (const std::int32_t c : packs.pack(p).read_clusters()) unknown += c < 0 ? 1 : 0;
  if (unknown == packs.rows())
    fail_usage("pretrain",
               "--negatives other_cluster: no spot of the packs has a label (inspect: clusters), so that every pair "
               "would be a negative; prepare slides that have annotation files, or give --negatives all");
  if (unknown > 0)
    log::info("labels: {} of {} spots have none; they are negatives of every other spot", unknown, packs.rows());
}

// What a run of these options does not do, though it may be asked for. For one rank to say.
void remark(const PretrainOptions& o, const train::LoopOptions& loop) {
  if (o.cuda_graph == "off" && o.device.name() == "cpu")
    log::warn("--cuda-graph off does nothing here: steps are captured with --device cuda alone");
  if (loop.lr.warmup >= loop.steps && o.base_lr > 0)
    log::warn(
        "the warm-up of {} steps is as long as the run of {} or longer: the learning rate ends at {:.3g} and never "
        "reaches its peak of {:.3g}; shorten it with --warmup-steps and --warmup-epochs",
        loop.lr.warmup, loop.steps, loop.lr.at(loop.steps - 1), loop.lr.start);
}

void describe_start(dist::Comm& world, const PretrainOptions& o, const std::string& resolved,
                    const data::PackSet& packs, const data::Sampler& sampler, const models::StAlign& model,
                    const Places& places, int threads) {
  log::info("{}", resolved);
  log::info("model parts (parameters):\n{}", model.summary());
  std::string slides;
  std::int64_t count = 0;
  for (std::size_t p = 0; p < packs.packs(); ++p) {
    count += static_cast<std::int64_t>(packs.pack(p).slides().size());
    slides += (slides.empty() ? "" : ", ") + packs.pack(p).path();
  }
  log::info(
      "data: {} spot-niche pairs of {} slides in {}; {} genes; {} steps an epoch, {} pairs left out of each epoch",
      packs.rows(), count, slides, packs.header().niche_genes, sampler.steps_per_epoch(), sampler.dropped_per_epoch());
  log::info("ranks: {} ({}) on {}; {} threads a rank; {} pairs a rank and step; device {}", world.size(), world.name(),
            fmt::join(places.hosts, ", "), threads, o.global_batch / world.size(), fmt::join(places.devices, ", "));
}

}  // namespace

int run_pretrain(dist::Comm& world, const std::vector<std::string>& args) {
  PretrainOptions o;
  Options options = pretrain_table(o);
  if (!options.parse(args, std::cout)) return exit_ok;
  const int threads = settle_threads();
  o.check(world.size());
  o.device.open(world, o.precision);

  data::PackSet packs(o.packs);
  use_spot_features(packs, o.model);
  o.adopt_sizes(options, packs);
  require_fits(o.model, {}, packs, "the model configuration");
  if (o.negatives == "other_cluster") require_labels(packs);
  const data::Sampler sampler(packs.rows(), o.global_batch, o.seed);
  o.settle_steps(sampler.steps_per_epoch());

  models::StAlign model(o.model, o.seed, o.device.device());
  for (const std::string& pattern : o.freeze)
    if (model.registry().freeze(pattern) == 0) fail_usage("pretrain", "--freeze '{}' matches no parameter", pattern);
  const RunLock run_lock(world, o.output);
  const std::string start = choose_start(world, o);
  std::vector<ReadWeights> read;
  if (start.empty())
    dist::together(world, "weights", [&] { read = read_start_weights(model, o.start, packs.genes()); });
  else if (o.start.any())
    log::info(
        "weights named by --init, --niche-image-weights, --spot-image-weights are not read again: the checkpoint "
        "holds them");
  const auto optimizer = o.make_optimizer(model);
  const auto ema = o.make_ema(model);
  train::LoopOptions loop =
      o.loop(sampler.steps_per_epoch(),
             checkpoint_config(o.model, {packs.genes(), spot_gene_key(packs), packs.header().spot_window_um}),
             pack_fingerprint(world, packs));
  loop.pack_names_fingerprint = packs.names_fingerprint();

  ckpt::State state;
  if (!start.empty()) {
    dist::together(world, "resume", [&] { state = train::restore(start, model, *optimizer, loop, ema.get()); });
  }
  const std::int64_t first_step = state.step;
  if (!start.empty() && (first_step > o.steps || (first_step == o.steps && !is_own_checkpoint(start, o.output))))
    fail_usage("pretrain",
               "--steps: expected more than {}, which {} has done, got {}; or --resume never with another "
               "--output",
               first_step, start, o.steps);
  use_niche_features(world, packs, model,
                     {.mode = o.features,
                      .training = true,
                      .weights_given = !start.empty() || o.start.any(),
                      .augmented = o.augment_flips || o.augment_stain > 0,
                      .resumed = !start.empty()});
  loop.inputs = input_facts(packs);
  loop.inputs.merge(o.course(options, world.size()));
  const std::string changed = changed_course(state.extra, loop.inputs);
  if (!start.empty()) dist::together(world, "resume", [&] { require_same_inputs(start, state.extra, loop.inputs); });
  o.features = packs.stored().niche_features ? "require" : "never";  // config.cfg repeats what was done
  std::unique_ptr<train::RunLog> run_log;
  dist::together(world, "run log", [&] {
    // auto over a run that was killed before its first checkpoint starts that run again; another run's checkpoint
    // begins one of its own
    const bool goes_on =
        start.empty() ? o.resume == "auto" : is_own_checkpoint(start, o.output) || began_from(start, o.output);
    run_log = std::make_unique<train::RunLog>(o.output, world.rank() == 0, goes_on ? first_step : -1, o.steps);
    run_log->write_config(options.resolved());
    if (world.rank() == 0) {
      std::string genes;
      for (const auto& g : packs.genes()) genes += g + "\n";
      files::replace_text(o.output + "/genes.txt", genes);
    }
  });
  const Places places(world, o.device);
  describe_start(world, o, options.resolved(), packs, sampler, model, places, threads);
  if (!start.empty()) log::info("resuming from {} at step {}", start, first_step);
  if (world.rank() == 0) {
    remark(o, loop);
    if (!changed.empty()) log::warn("the run goes on with other options than before: {}", changed);
  }
  run_log->event(start.empty() ? "start" : "resumed", {{"version", std::string(version())},
                                                       {"build", version_text()},
                                                       {"ranks", std::int64_t{world.size()}},
                                                       {"hosts", places.hosts},
                                                       {"devices", places.devices},
                                                       {"threads", std::int64_t{threads}},
                                                       {"step", first_step},
                                                       {"checkpoint", start},
                                                       {"changed", changed},
                                                       {"niche_features", std::int64_t{packs.stored().niche_features}},
                                                       {"parameters", model.registry().count()}});
  // a run that goes on elsewhere takes along what it learned from
  if (start.empty() || !is_own_checkpoint(start, o.output)) {
    run_log->event("data", data_fields(packs, loop.pack_fingerprint));
    if (!start.empty())
      for (const Source& s : sources_of(start)) run_log->event("weights", event_of(s));
  }
  for (const ReadWeights& w : read) run_log->event("weights", w.event());
  for (const Source& s : sources_of_features(packs)) run_log->event("weights", event_of(s));

  try {
    dist::Comm& ranks = o.device.comm(world);
    train::Trainer trainer(model, *optimizer, ranks, o.trainer(), o.global_batch / world.size());
    const auto source = o.make_source(packs, sampler, first_step, ranks);
    const auto end = train::run_loop(
        trainer, model, *optimizer, *source, ranks, *run_log, loop, first_step, [] { return stop_signal() != 0; },
        ema.get());
    run_log->event("end",
                   {{"reason", std::string(end == train::LoopEnd::finished ? "finished" : "stopped by a signal")}});
    if (end == train::LoopEnd::stopped) {
      log::warn("stopped by a signal after a good checkpoint; run the same command again to go on");
      return exit_requeue;
    }
  } catch (const dist::RepeatedError& e) {
    if (world.rank() == 0) run_log->error(0, e.what());  // the rank that failed may not reach the file
    throw;
  } catch (const std::exception& e) {
    run_log->error(world.rank(), e.what());
    throw;
  }
  log::info("done: {} steps; checkpoints, metrics.jsonl and config.cfg are in {}", o.steps, o.output);
  return exit_ok;
}

}  // namespace spn::cli
