#include "engine/train/loop.h"

#include <deque>
#include <exception>
#include <utility>

#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/core/stopwatch.h"
#include "kernels/table.h"

namespace spn::train {
namespace {

std::vector<ckpt::NamedTensor> model_state(const models::StAlign& model) {
  std::vector<ckpt::NamedTensor> out;
  for (const auto& e : model.registry().entries()) out.push_back({e.name, e.value()});
  return out;
}

void save(const models::StAlign& model, const optim::Optimizer& optimizer, dist::Comm& world, RunLog& log,
          const LoopOptions& o, const optim::Ema* ema, std::int64_t steps_done, std::int64_t epoch, int keep) {
  const Stopwatch watch;
  ckpt::Snapshot s;
  s.state.step = steps_done;
  s.state.epoch = epoch;
  s.state.pairs_seen = steps_done * o.global_batch;
  s.state.seed = o.seed;
  s.state.world_size = world.size();
  s.state.global_batch = o.global_batch;
  s.state.pack_fingerprint = o.pack_fingerprint;
  s.state.spotniche_version = o.spotniche_version;
  s.state.extra = o.inputs;
  s.config_json = o.config_json;
  s.model = model_state(model);
  if (ema != nullptr) s.ema = ema->state();
  s.optimizer = optimizer.state();
  const std::string folder = ckpt::save(world, o.run_dir, s, keep);
  log.event("checkpoint", {{"step", steps_done}, {"folder", folder}, {"seconds", watch.seconds()}});
}

// So many steps without a finite gradient, one after the other: none that follows will have one.
constexpr std::int64_t kMostSkipped = 20;

// A step that is queued, and what its line of metrics needs.
struct Queued {
  std::int64_t step, epoch;
  optim::StepArgs args;
};

Metrics make_metrics(const StepReport& r, const Queued& b, const LoopOptions& o) {
  Metrics m;
  m.step = b.step + 1;
  m.epoch = b.epoch;
  m.pairs_seen = m.step * o.global_batch;
  m.loss = r.loss;
  m.loss_spot = r.loss_of[0], m.loss_niche = r.loss_of[1], m.loss_cross = r.loss_of[2];
  m.acc_spot = r.accuracy_of[0], m.acc_niche = r.accuracy_of[1], m.acc_cross = r.accuracy_of[2];
  m.lr = b.args.lr;
  m.weight_decay = b.args.weight_decay;
  m.grad_norm = r.grad_norm;
  m.forward_s = r.forward_s, m.backward_s = r.backward_s, m.comm_s = r.comm_s, m.optimizer_s = r.optimizer_s;
  return m;
}

// Shapes alone would let another number of heads, dropout or temperature through. Keys that an older checkpoint lacks
// are taken as they are now.
void require_same_model(const std::string& checkpoint, const std::string& saved, const models::Config& config) {
  const auto then = try_json(saved);
  if (!then.is_object()) fail_data("resume", "{}/config.json: expected a JSON object", checkpoint);
  const auto now = parse_json(models::to_json(config));
  for (const auto& [key, value] : now.items())
    if (const auto was = then.find(key); was != then.end() && *was != value)
      fail_usage("resume",
                 "{} was trained with --{} {}, got {}; give it as it was (the run's config.cfg has it), or begin a run "
                 "of its own: --init {} and another --output",
                 checkpoint, key, json_text(*was), json_text(value), checkpoint);
}

}  // namespace

ckpt::State restore(const std::string& checkpoint, models::StAlign& model, optim::Optimizer& optimizer,
                    const LoopOptions& o, optim::Ema* ema) {
  const ckpt::Loaded loaded = ckpt::load(checkpoint);
  const ckpt::State& s = loaded.state;
  const bool older = s.pack_fingerprint.find(':') == std::string::npos;
  if (s.pack_fingerprint != (older ? o.pack_names_fingerprint : o.pack_fingerprint))
    fail_data("resume",
              "{} was trained on another pack, or its values have changed since (fingerprint {}…, this one {}…); give "
              "the same --pack files in the same "
              "order, or start a new run with --output",
              checkpoint, s.pack_fingerprint.substr(0, 12), o.pack_fingerprint.substr(0, 12));
  if (s.seed != o.seed) fail_usage("resume", "{} was trained with --seed {}, got {}", checkpoint, s.seed, o.seed);
  if (s.global_batch != o.global_batch)
    fail_usage("resume", "{} was trained with --global-batch {}, got {}; the sample order would change", checkpoint,
               s.global_batch, o.global_batch);
  require_same_model(checkpoint, loaded.config_json, model.config());
  model.registry().load(loaded.model, checkpoint + "/model.safetensors");
  optimizer.load_state(loaded.optimizer, checkpoint);
  if (ema == nullptr) {
    if (!loaded.ema.empty()) log::info("{} holds averaged weights; without --ema-decay they end here", checkpoint);
  } else if (loaded.ema.empty()) {
    ema->restart();
    log::info("{} holds no averaged weights: the average starts from its weights, at step {}", checkpoint, s.step);
  } else {
    ema->load_state(loaded.ema, checkpoint + "/ema.safetensors");
  }
  return s;
}

LoopEnd run_loop(Trainer& trainer, models::StAlign& model, optim::Optimizer& optimizer, BatchSource& source,
                 dist::Comm& world, RunLog& log, const LoopOptions& o, std::int64_t first_step,
                 const std::function<bool()>& stop_requested, optim::Ema* ema) {
  if (first_step >= o.steps) log::info("nothing left to do: {} of {} steps are done", first_step, o.steps);
  Batch batch;
  double data_s = 0;
  const auto fetch = [&](std::int64_t step) {
    const Stopwatch waiting;
    batch = source.next();
    data_s += waiting.seconds();
    check(batch.step == step, "loop", "expected the batch of step {}, got {}", step, batch.step);
    trainer.stage(batch);
  };
  if (first_step < o.steps) fetch(first_step);
  // A device works at one step while the host prepares the next: a step's results are read when the step after it is
  // queued, or at once where something depends on them (a checkpoint, the end).
  const std::size_t ahead = o.device.type == DeviceType::cpu ? 0 : 1;
  std::deque<Queued> begun;
  Stopwatch since;           // the results before
  std::int64_t skipped = 0;  // in a row
  const auto finish_one = [&] {
    const Queued b = begun.front();
    begun.pop_front();
    const StepReport report = trainer.finish();
    Metrics m = make_metrics(report, b, o);
    m.data_s = std::exchange(data_s, 0.0);
    m.step_s = since.seconds();
    m.pairs_per_s = static_cast<double>(o.global_batch) / m.step_s;
    m.mem_bytes = static_cast<std::int64_t>(kernels::table_for(o.device).memory().peak);
    log.metrics(m);
    skipped = report.skipped ? skipped + 1 : 0;
    if (report.skipped) {
      log.event("skipped_step", {{"step", m.step}, {"reason", std::string("the gradient is not finite")}});
      log::warn("step {}: the gradient is not finite; the update was skipped", m.step);
      if (skipped == kMostSkipped)
        fail("loop",
             "the run has diverged: {} steps in a row had no finite gradient; go on from an older checkpoint with a "
             "smaller --base-lr, or with --clip-norm",
             kMostSkipped);
    }
    since = Stopwatch();
  };
  std::exception_ptr unread;  // of a batch; the step before it is done all the same, and written down first
  const auto one_step = [&](std::int64_t step) {
    const std::int64_t epoch = batch.epoch;
    const Queued next{step, epoch, {o.lr.at(step), o.weight_decay.at(step), o.clip_norm}};
    trainer.begin(next.args);
    begun.push_back(next);
    if (ema != nullptr) ema->update(optimizer.squares());
    try {
      if (step + 1 < o.steps) fetch(step + 1);
    } catch (...) {
      unread = std::current_exception();
    }
    while (begun.size() > ahead) finish_one();
    const bool stop = dist::any(world, stop_requested());
    const bool due = o.checkpoint_every > 0 && (step + 1) % o.checkpoint_every == 0;
    const bool saves = stop || due || step + 1 == o.steps;
    if (saves || unread)
      while (!begun.empty()) finish_one();
    if (stop) log.event("signal", {{"step", step + 1}});
    if (saves) {
      // weights that may be spoilt take no good checkpoint's place
      save(model, optimizer, world, log, o, ema, step + 1, epoch, skipped > 0 ? 0 : o.keep_checkpoints);
      since = Stopwatch();
    }
    if (unread) std::rethrow_exception(unread);
    return stop;
  };
  try {
    for (std::int64_t step = first_step; step < o.steps; ++step)
      if (one_step(step) && step + 1 < o.steps) return LoopEnd::stopped;
  } catch (...) {
    try {  // the steps that are queued are done: they are written down
      while (!begun.empty()) finish_one();
    } catch (...) {  // the first error says more
    }
    if (unread) std::rethrow_exception(unread);
    throw;
  }
  return LoopEnd::finished;
}

}  // namespace spn::train
