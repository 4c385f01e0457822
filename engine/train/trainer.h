// One training step: batch -> embeddings -> three losses over all ranks -> gradients summed over all ranks -> update.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>

#include "engine/optim/optimizer.h"
#include "engine/train/batch.h"
#include "engine/train/grad_sync.h"
#include "engine/train/losses.h"
#include "engine/train/negative_groups.h"
#include "engine/train/staging.h"
#include "engine/train/step_graph.h"

namespace spn::train {

enum class BatchNormMode : std::uint8_t { sync, local, frozen };

struct TrainerOptions {
  LossOptions loss;
  BatchNormMode batch_norm = BatchNormMode::sync;
  bool augment_flips = true;
  double augment_stain = 0.05;
  std::int64_t max_negatives = 0;         // 0: all of the global batch
  std::int64_t micro_batch = 0;           // rows of a rank embedded at once; 0: all of them
  bool activation_checkpointing = false;  // less memory, a second forward of the blocks; the same result
  std::uint64_t seed = 42;
  DType compute = DType::f32;  // or bf16, with fp32 weights, statistics, losses and reductions
  Device device;
  bool graph = true;  // on a device that can: the step is captured and replayed
};

struct StepReport {
  double loss = 0, loss_of[3] = {}, accuracy_of[3] = {};  // over the global batch; spot, niche, cross
  double grad_norm = 0;
  bool skipped = false;  // the gradient was not finite: nothing was changed
  // comm_s: blocked in collectives, wherever. On a device these are what the host took to queue the work, and 0 when
  // the step was replayed.
  double forward_s = 0, backward_s = 0, comm_s = 0, optimizer_s = 0;
};

class Trainer {
 public:
  // rank_batch: rows of this rank in every step. Usage error when micro_batch does not divide it.
  Trainer(models::StAlign& model, optim::Optimizer& optimizer, dist::Comm& world, const TrainerOptions& options,
          std::int64_t rank_batch);

  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // The batch of the next step. On a device it travels there beside a step at work.
  void stage(const Batch& batch);
  // Collective. Queues the step of the batch staged last; on a device the host waits for nothing, so that it may
  // prepare a step while the one before runs. clip_norm must be the same in every step.
  void begin(const optim::StepArgs& args);
  // What the oldest step begun and not finished came to; waits for it. Until then the optimiser does not count it.
  StepReport finish();
  StepReport step(const Batch& batch, const optim::StepArgs& args) {
    stage(batch);
    begin(args);
    return finish();
  }

  // Whether steps are replayed by now (StepGraph).
  bool replays() const { return graph_.replays(); }

 private:
  // losses of spot, niche, cross; accuracies; Σ g²
  static constexpr std::size_t kResults = 7;
  struct Begun {
    StepReport report;
    std::array<double, kResults> results{};  // on the host at once,
    void* download = nullptr;                // or on their way
  };

  models::Inputs inputs(std::int64_t first, std::int64_t rows) const;
  void check_ranks();
  // From the staged batch to the updated weights, without a word to the host: results are left in results_.
  void run(double clip_norm, StepReport& times);

  models::StAlign& model_;
  optim::Optimizer& optimizer_;
  dist::Comm& world_;
  TrainerOptions options_;
  NegativeGroup negatives_;
  GradSync sync_;
  Staging staging_;
  StepGraph graph_;
  Tensor results_;  // f64 [kResults]
  std::deque<Begun> begun_;
};

}  // namespace spn::train
