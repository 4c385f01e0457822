// What a training step computes and holds, part by part, counted on the meta device: nothing is allocated or computed,
// so any size is known in milliseconds, and a test holds the counts against a real step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/dtype.h"
#include "engine/models/config.h"

namespace spn::train {

struct PartCost {
  std::string name;    // as the first words of the tensors' names
  std::string shapes;  // "[B,3,32,32] -> [B,8,512]"
  std::int64_t parameters = 0, trained = 0;
  double forward_flops = 0, backward_flops = 0;  // a pair; a multiply-add is two
  double activation_bytes = 0;                   // a pair: kept by the forward for the backward
};

struct CostOptions {
  std::int64_t batch = 32;  // pairs of one rank, all embedded at once
  bool activation_checkpointing = false;
  bool features = false;  // the frozen encoder's cached features are read instead of niche images
  DType compute = DType::f32;
  std::int64_t ranks = 1;  // more than one: gradients lie in buckets, and a step holds one beside those it waits for
  bool ema = false;        // averaged weights are kept
};

struct StepCost {
  std::vector<PartCost> parts;  // encoders, fusions, heads, and the three losses
  PartCost total;
  // Of one rank and the whole batch. AdamW's state; gradients of what is trained; batch norm's statistics are weights,
  // and so are those that are kept in bf16 beside fp32.
  double weight_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0, input_bytes = 0, activation_bytes = 0,
         ema_bytes = 0;
  double floor_bytes = 0;  // their sum: what a step cannot do without, as the tape keeps it
  double peak_bytes = 0;   // the most that tensors hold at once, with every temporary
};

StepCost step_cost(const models::Config& config, const CostOptions& options);

}  // namespace spn::train
