// One training step: batch -> embeddings -> three losses over all ranks -> gradients summed over all ranks -> update.
#pragma once

#include <memory>

#include "engine/optim/optimizer.h"
#include "engine/train/batch.h"
#include "engine/train/grad_sync.h"
#include "engine/train/losses.h"
#include "engine/train/negative_groups.h"

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
};

struct StepReport {
  double loss = 0, loss_of[3] = {}, accuracy_of[3] = {};  // over the global batch; spot, niche, cross
  double grad_norm = 0;
  bool skipped = false;  // the gradient was not finite: nothing was changed
  double forward_s = 0, backward_s = 0, comm_s = 0, optimizer_s = 0;  // comm_s: blocked in collectives, wherever
};

class Trainer {
 public:
  // rank_batch: rows of this rank in every step. Usage error when micro_batch does not divide it.
  Trainer(models::StAlign& model, optim::Optimizer& optimizer, dist::Comm& world, const TrainerOptions& options,
          std::int64_t rank_batch);

  // Collective.
  StepReport step(const Batch& batch, const optim::StepArgs& args);

 private:
  models::Inputs inputs(const Batch& batch, std::int64_t first, std::int64_t rows) const;

  models::StAlign& model_;
  optim::Optimizer& optimizer_;
  dist::Comm& world_;
  TrainerOptions options_;
  NegativeGroup negatives_;
  GradSync sync_;
};

}  // namespace spn::train
