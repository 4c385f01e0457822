// The training loop: batches in, steps, metrics, checkpoints; resumes, and stops at a safe point when asked.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "engine/ckpt/checkpoint.h"
#include "engine/optim/ema.h"
#include "engine/optim/schedule.h"
#include "engine/train/run_log.h"
#include "engine/train/trainer.h"

namespace spn::train {

struct LoopOptions {
  std::string run_dir;
  std::int64_t steps = 0;  // total of the run, not of this process
  std::int64_t global_batch = 0;
  std::int64_t checkpoint_every = 0;  // steps; 0: only at the end
  int keep_checkpoints = 3;
  optim::Cosine lr, weight_decay;
  double clip_norm = 0;
  std::string config_json;  // of the model, for checkpoints
  std::string pack_fingerprint;
  std::string pack_names_fingerprint;  // what older checkpoints carry in its place, without a "2:" before it
  std::string spotniche_version;
  std::uint64_t seed = 42;
  Device device;  // whose memory metrics tell
  // What the batches hold, and options that a resume may change, for checkpoints: "extra" of state.json.
  std::map<std::string, std::string> inputs;
};

enum class LoopEnd : std::uint8_t { finished, stopped };

// Puts a checkpoint's weights and optimiser state in place, and averaged weights in ema where that is given (without
// any in the checkpoint, the average starts from the weights, which is logged); returns its state. Data error when the
// pack is not the one that it was trained on; usage error when seed, global batch or a key of the model differ.
ckpt::State restore(const std::string& checkpoint, models::StAlign& model, optim::Optimizer& optimizer,
                    const LoopOptions& options, optim::Ema* ema = nullptr);

// Runs steps [first_step, options.steps). stop_requested is asked after every step, on every rank; when any rank says
// yes, all save a checkpoint and return `stopped`. Collective. The end is always a checkpoint. ema, when given, is
// updated after every step that was not skipped, and saved.
LoopEnd run_loop(Trainer& trainer, models::StAlign& model, optim::Optimizer& optimizer, BatchSource& source,
                 dist::Comm& world, RunLog& log, const LoopOptions& options, std::int64_t first_step,
                 const std::function<bool()>& stop_requested, optim::Ema* ema = nullptr);

}  // namespace spn::train
