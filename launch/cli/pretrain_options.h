// The options of pretrain (and of bench step), and what they mean for the engine.
#pragma once

#include "data/pipe/loader.h"
#include "engine/train/loop.h"
#include "launch/cli/device.h"
#include "launch/cli/options.h"
#include "launch/cli/precision.h"
#include "launch/cli/start_weights.h"

namespace spn::cli {

struct PretrainOptions {
  std::vector<std::string> packs;
  std::string output, resume = "auto", features = "auto", cuda_graph = "auto", residency = "disk";
  double residency_gib = 0;
  DeviceChoice device;
  Precision precision;
  std::int64_t steps = 0, global_batch = 128, micro_batch = 0;
  bool activation_checkpointing = false;
  double epochs = 0;
  std::uint64_t seed = 42;
  models::Config model;
  StartWeights start;
  std::string optimizer = "adamw";
  double base_lr = 5e-4, final_lr = 1e-6, warmup_epochs = 2, weight_decay = 0.04, final_weight_decay = 0.4,
         clip_norm = 0, ema_decay = 0;
  std::vector<std::string> freeze, lr_scale;
  double alpha = 0.3, beta = 0.3, exclude_radius_um = 0;
  std::string negatives = "all", batch_norm = "sync";
  std::int64_t max_negatives = 0, warmup_steps = 250;
  bool augment_flips = true;
  double augment_stain = 0.05;
  std::int64_t checkpoint_every = 0;
  int keep_checkpoints = 3, prefetch = 3, loader_threads = 1;

  // Usage errors for combinations that cannot work on this many ranks, and for options that would do nothing.
  void check(int ranks) const;
  // Gene counts and image sizes come from the packs where the user gave none.
  void adopt_sizes(const Options& given, const data::PackSet& set);
  // steps from epochs, which are 0 from then on.
  void settle_steps(std::int64_t steps_per_epoch);
  // How a run learns, which it may change when it goes on: the options of loss, optimiser and augmentation, the
  // precision, the steps in all, and what batch statistics are taken over (micro-batch, batch-norm, ranks); by name,
  // "option." before it.
  std::map<std::string, std::string> course(const Options& given, int ranks) const;
  std::unique_ptr<optim::Optimizer> make_optimizer(models::StAlign& model) const;
  std::unique_ptr<optim::Ema> make_ema(const models::StAlign& model) const;  // null: off
  // Reads from disk ahead of the steps, or from memory (--residency). Collective.
  std::unique_ptr<train::BatchSource> make_source(const data::PackSet& packs, const data::Sampler& sampler,
                                                  std::int64_t first_step, dist::Comm& ranks) const;
  train::LoopOptions loop(std::int64_t steps_per_epoch, std::string config_json, std::string fingerprint) const;
  train::TrainerOptions trainer() const;
};

Options pretrain_table(PretrainOptions& o);
// What a run that goes on does otherwise than its checkpoint: "alpha 0.3 -> 0.5, …". Empty: nothing, or not known.
std::string changed_course(const std::map<std::string, std::string>& then,
                           const std::map<std::string, std::string>& now);

}  // namespace spn::cli
