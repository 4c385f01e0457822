#include "launch/cli/pretrain_options.h"

#include <cmath>

#include "engine/train/negative_groups.h"
#include "launch/cli/batches.h"
#include "launch/cli/features.h"
#include "launch/cli/model_options.h"
#include "launch/cli/resident.h"
#include "launch/cli/version.h"

namespace spn::cli {

namespace {
// The sections whose options say how a run learns.
constexpr const char* kCourse[] = {"loss", "optimiser", "augmentation (off: --augment-flips=false --augment-stain 0)"};
}  // namespace

Options pretrain_table(PretrainOptions& o) {
  Options t("pretrain",
            "Pretrains ST-Align on packs. Several ranks: mpirun -np 4 spotniche pretrain …, srun --mpi=pmix spotniche "
            "pretrain …");
  t.section("run");
  t.add("pack", &o.packs, "packs from `spotniche prepare`; several are joined in order");
  t.add("output", &o.output, "the run directory: metrics.jsonl, events.jsonl, config.cfg, checkpoints/");
  t.add("steps", &o.steps, "optimiser steps in all (or give --epochs)");
  t.add("epochs", &o.epochs, "passes over the packs (or give --steps)");
  t.alternatives("steps", "epochs");
  t.add("global-batch", &o.global_batch, "pairs a step, over all ranks: a multiple of the number of ranks");
  t.add("micro-batch", &o.micro_batch,
        "pairs that a rank embeds at once, 0: all; changes memory, not the result (but batch statistics are taken over "
        "each part)");
  t.add("activation-checkpointing", &o.activation_checkpointing,
        "compute the activations inside blocks again in the backward instead of keeping them; changes memory, not the "
        "result");
  t.add("resume", &o.resume, "auto: go on from the newest checkpoint of --output; never; or a checkpoint's path");
  add_features_option(t, &o.features);
  o.device.add_to(t);
  t.add(
      "cuda-graph", &o.cuda_graph,
      "auto: with --device cuda the step is captured once and replayed; off: launched anew every time, for debugging");
  t.choices("cuda-graph", {"auto", "off"});
  o.precision.add_to(t);
  t.add("seed", &o.seed, "of initial weights, sample order, dropout and augmentation");
  t.add("checkpoint-every", &o.checkpoint_every, "steps between checkpoints, 0: at the end and on a signal only");
  t.add("keep-checkpoints", &o.keep_checkpoints, "how many stay, 0: all");
  t.add("residency", &o.residency,
        "where the packs' rows are while training: disk; host: read into memory once; gpu: into GPU memory once. What "
        "does "
        "not fit on every rank is shared out over them");
  t.choices("residency", {"disk", "host", "gpu"});
  t.add("residency-gib", &o.residency_gib, "memory of a rank for it, 0: four fifths of what is free, half on a GPU");
  t.add("prefetch", &o.prefetch, "batches read ahead");
  t.add("loader-threads", &o.loader_threads, "threads that read");
  add_start_options(t, o.start);
  t.section(kCourse[0]);
  t.add("alpha", &o.alpha, "weight of the spot target");
  t.add("beta", &o.beta, "weight of the niche target; the cross target has the rest");
  t.add("negatives", &o.negatives, "which pairs of the global batch are negatives");
  t.choices("negatives", {"all", "exclude_radius_um", "other_cluster"});
  t.add("exclude-radius-um", &o.exclude_radius_um,
        "with negatives = exclude_radius_um: pairs of a slide closer than this are none");
  t.add("max-negatives", &o.max_negatives,
        "at most so many a pair (ranks gather in groups), 0: the whole global batch");
  t.section(kCourse[1]);
  t.add("optimizer", &o.optimizer, "update rule");
  t.choices("optimizer", {"adamw", "sgd"});
  t.add("base-lr", &o.base_lr, "peak learning rate for a global batch of 256; scaled in proportion");
  t.add("final-lr", &o.final_lr, "learning rate at the end of the cosine");
  t.add("warmup-epochs", &o.warmup_epochs,
        "epochs of linear warm-up from 0; a run that is shorter never reaches the peak");
  t.add("warmup-steps", &o.warmup_steps, "but at least so many steps, whatever the run's length (docs/decisions/0013)");
  t.add("weight-decay", &o.weight_decay, "at the start; biases and vectors have none");
  t.add("final-weight-decay", &o.final_weight_decay, "at the end of its cosine");
  t.add("clip-norm", &o.clip_norm, "clip gradients to this global norm, 0: off");
  t.add("ema-decay", &o.ema_decay,
        "keep an exponential moving average of the weights in every checkpoint (embed --ema), like 0.999; 0: none");
  t.add("freeze", &o.freeze, "patterns of parameters to keep, like 'niche_image.backbone.*'");
  t.add("lr-scale", &o.lr_scale, "pattern=factor pairs, like 'spot_image.backbone.*=0.1'");
  t.add("batch-norm", &o.batch_norm,
        "sync: statistics of the global batch; local: of each rank; frozen: the running ones");
  t.choices("batch-norm", {"sync", "local", "frozen"});
  t.section(kCourse[2]);
  t.add("augment-flips", &o.augment_flips, "one of the 8 flips and quarter turns, the same for both images of a pair");
  t.add("augment-stain", &o.augment_stain, "spread of the random change of haematoxylin and eosin, 0: none");
  add_model_options(t, o.model);
  t.require("pack");
  t.require("output");
  return t;
}

void PretrainOptions::check(int ranks) const {
  const auto require = [](bool ok, const char* what, const std::string& expected) {
    if (!ok) fail_usage("pretrain", "--{}: expected {}", what, expected);
  };
  const auto at_least = [](double least, double value, const char* what) {
    if (!(value >= least)) fail_usage("pretrain", "--{}: expected {} or more, got {}", what, least, value);
  };
  at_least(0, static_cast<double>(steps), "steps");
  at_least(0, epochs, "epochs");
  require((steps > 0) != (epochs > 0), "steps",
          fmt::format("either --steps or --epochs, above 0, got {} and {}", steps, epochs));
  require(global_batch >= 2 && global_batch % ranks == 0, "global-batch",
          fmt::format("a multiple of the number of ranks ({}) of at least 2, got {}", ranks, global_batch));
  const std::int64_t rank_batch = global_batch / ranks;
  require(micro_batch >= 0 && (micro_batch == 0 || rank_batch % micro_batch == 0), "micro-batch",
          fmt::format("a divisor of a rank's batch ({}), or 0, got {}", rank_batch, micro_batch));
  (void)train::negative_group_size(ranks, rank_batch, max_negatives);
  require(negatives != "exclude_radius_um" || exclude_radius_um > 0, "exclude-radius-um",
          fmt::format("a distance above 0 with negatives = exclude_radius_um, got {}", exclude_radius_um));
  require(negatives == "exclude_radius_um" || exclude_radius_um == 0, "exclude-radius-um",
          fmt::format("--negatives exclude_radius_um with it; --negatives {} has no radius: give 0", negatives));
  for (const auto& [value, name] : {std::pair{base_lr, "base-lr"},
                                    {final_lr, "final-lr"},
                                    {warmup_epochs, "warmup-epochs"},
                                    {static_cast<double>(warmup_steps), "warmup-steps"},
                                    {weight_decay, "weight-decay"},
                                    {final_weight_decay, "final-weight-decay"},
                                    {clip_norm, "clip-norm"},
                                    {static_cast<double>(checkpoint_every), "checkpoint-every"},
                                    {static_cast<double>(keep_checkpoints), "keep-checkpoints"},
                                    {residency_gib, "residency-gib"}})
    at_least(0, value, name);
  require(alpha >= 0 && beta >= 0 && alpha + beta <= 1, "alpha",
          fmt::format("alpha and beta of 0 or more, with a sum of at most 1, got {} and {}", alpha, beta));
  require(ema_decay >= 0 && ema_decay < 1, "ema-decay", fmt::format("0 <= decay < 1, got {}", ema_decay));
  at_least(1, prefetch, "prefetch");
  at_least(1, loader_threads, "loader-threads");
  require(residency != "disk" || residency_gib == 0, "residency-gib",
          "--residency host or gpu with it; disk holds nothing in memory: give 0");
  require(residency == "disk" ||
              (prefetch == PretrainOptions().prefetch && loader_threads == PretrainOptions().loader_threads),
          "prefetch", "--residency disk with --prefetch and --loader-threads; rows in memory are not read ahead");
  require(residency != "gpu" || device.name() == "cuda", "residency", "gpu with --device cuda only");
  require(augment_stain >= 0 && augment_stain <= 0.5, "augment-stain", fmt::format("0 to 0.5, got {}", augment_stain));
}

void PretrainOptions::adopt_sizes(const Options& given, const data::PackSet& set) {
  const data::PackHeader& h = set.header();
  if (!given.given("genes")) model.genes = h.niche_genes;
  if (!given.given("spot-gene-width")) model.spot_gene_width = set.spot_width();
  if (!given.given("spot-image-px")) model.spot_image_px = h.spot_px;
  if (!given.given("niche-image-px")) model.niche_image_px = h.niche_px;
  model.validate();
}

void PretrainOptions::settle_steps(std::int64_t steps_per_epoch) {
  if (steps == 0) steps = static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(steps_per_epoch)));
  epochs = 0;  // config.cfg says one of the two
}

std::map<std::string, std::string> PretrainOptions::course(const Options& given, int ranks) const {
  std::map<std::string, std::string> c;
  for (const char* section : kCourse)
    for (const auto& [name, text] : given.texts(section)) c["option." + name] = text;
  c["option.precision"] = precision.name;
  c["option.steps"] = std::to_string(steps);  // where the schedules end
  const std::int64_t rows = micro_batch > 0 ? micro_batch : global_batch / ranks;
  if (batch_norm != "frozen")
    c["option.pairs in a batch statistic"] = std::to_string(batch_norm == "sync" ? rows * ranks : rows);
  return c;
}

std::string changed_course(const std::map<std::string, std::string>& then,
                           const std::map<std::string, std::string>& now) {
  const auto said = [](const std::string& s) { return s.empty() ? std::string("none") : s; };
  std::string changed;
  for (const auto& [name, value] : now)
    if (const auto was = then.find(name); name.starts_with("option.") && was != then.end() && was->second != value)
      changed +=
          fmt::format("{}{} {} -> {}", changed.empty() ? "" : ", ", name.substr(7), said(was->second), said(value));
  return changed;
}

std::unique_ptr<optim::Optimizer> PretrainOptions::make_optimizer(models::StAlign& model_) const {
  std::vector<optim::LrScale> scales;
  for (const std::string& s : lr_scale) {
    const auto at = s.rfind('=');
    if (at == std::string::npos) fail_usage("pretrain", "--lr-scale: expected pattern=factor, got '{}'", s);
    const double factor = to_number("lr-scale", s.substr(at + 1), "a number after '='");
    if (factor < 0) fail_usage("pretrain", "--lr-scale: expected a factor of 0 or more, got '{}'", s);
    scales.push_back({s.substr(0, at), factor});
  }
  auto items = optim::make_items(model_.registry().trainable(), scales);
  return optimizer == "sgd" ? optim::make_sgd(std::move(items)) : optim::make_adamw(std::move(items));
}

std::unique_ptr<optim::Ema> PretrainOptions::make_ema(const models::StAlign& model_) const {
  return ema_decay > 0 ? std::make_unique<optim::Ema>(model_.registry(), ema_decay) : nullptr;
}

std::unique_ptr<train::BatchSource> PretrainOptions::make_source(const data::PackSet& set, const data::Sampler& sampler,
                                                                 std::int64_t first_step, dist::Comm& ranks) const {
  if (residency == "disk")
    return std::make_unique<LoaderSource>(set, sampler, first_step, steps, ranks.rank(), ranks.size(), prefetch,
                                          loader_threads);
  return std::make_unique<ResidentSource>(set, sampler, first_step, steps, ranks,
                                          residency == "gpu" ? device.device() : Device{},
                                          static_cast<std::int64_t>(residency_gib * (1 << 30)));
}

train::LoopOptions PretrainOptions::loop(std::int64_t steps_per_epoch, std::string config_json,
                                         std::string fingerprint) const {
  train::LoopOptions l;
  l.run_dir = output;
  l.steps = steps;
  l.global_batch = global_batch;
  l.checkpoint_every = checkpoint_every;
  l.keep_checkpoints = keep_checkpoints;
  const auto warmup = std::max(
      static_cast<std::int64_t>(std::llround(warmup_epochs * static_cast<double>(steps_per_epoch))), warmup_steps);
  l.lr = {optim::scaled_lr(base_lr, global_batch), final_lr, warmup, steps};
  l.weight_decay = {weight_decay, final_weight_decay, 0, steps};
  l.clip_norm = clip_norm;
  l.config_json = std::move(config_json);
  l.pack_fingerprint = std::move(fingerprint);
  l.spotniche_version = version();
  l.seed = seed;
  l.device = device.device();
  return l;
}

train::TrainerOptions PretrainOptions::trainer() const {
  train::TrainerOptions t;
  t.loss.alpha = alpha;
  t.loss.beta = beta;
  t.loss.negatives = negatives == "all"             ? kernels::Negatives::all
                     : negatives == "other_cluster" ? kernels::Negatives::other_cluster
                                                    : kernels::Negatives::exclude_radius;
  t.loss.exclude_radius_um = exclude_radius_um;
  t.batch_norm = batch_norm == "sync"    ? train::BatchNormMode::sync
                 : batch_norm == "local" ? train::BatchNormMode::local
                                         : train::BatchNormMode::frozen;
  t.augment_flips = augment_flips;
  t.augment_stain = augment_stain;
  t.max_negatives = max_negatives;
  t.micro_batch = micro_batch;
  t.activation_checkpointing = activation_checkpointing;
  t.seed = seed;
  t.compute = precision.dtype();
  t.device = device.device();
  t.graph = cuda_graph == "auto";
  return t;
}

}  // namespace spn::cli
