// Optimizer: one update of all trained parameters from their gradients, with clipping and a guard against NaN.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"
#include "engine/optim/groups.h"
#include "kernels/args/optim.h"

namespace spn::optim {

// What changes from step to step.
struct StepArgs {
  double lr = 0, weight_decay = 0;
  double clip_norm = 0;  // 0: off
};

struct StepResult {
  double grad_norm = 0;  // before clipping
  bool skipped = false;  // the norm was not finite: nothing was changed
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Parameters whose gradient is absent keep value and state. Gradients are kept; clear them with zero_grad().
  StepResult step(const StepArgs& args) {
    set_rates(args);
    update(args.clip_norm);
    return finish(squares_.item());
  }
  // The three parts of a step, for those who capture the middle one: it reads nothing on the host. Several may be begun
  // before the first is finished.
  void set_rates(const StepArgs& args);
  void update(double clip_norm);
  // squares: what squares() held after this step's update.
  StepResult finish(double squares);
  // On the parameters' device. rates: f64 [2], where set_rates puts learning rate and weight decay. squares: f64 [1], Σ
  // g² of the last update.
  const Tensor& rates() const { return rates_; }
  const Tensor& squares() const { return squares_; }
  void zero_grad() const;
  const std::vector<Item>& items() const { return items_; }

  // Updates done so far (skipped ones do not count).
  std::int64_t steps() const;

  // Everything a checkpoint needs, named "<slot>.<parameter>" (exp_avg, exp_avg_sq, momentum) and "step" (i64, scalar).
  // The tensors share storage with the optimiser; "step" counts what is finished.
  const std::vector<ckpt::NamedTensor>& state() const { return state_; }
  // Restores it. Data error listing every missing, unexpected or misshapen tensor and naming `source`; then nothing is
  // changed.
  void load_state(const std::map<std::string, Tensor>& saved, const std::string& source);

 protected:
  Optimizer(std::vector<Item> items, std::initializer_list<const char*> slots);
  // Updates the items at `present` by their gradients `grads` (contiguous).
  virtual void apply(const kernels::UpdateRates& update, std::span<const std::size_t> present,
                     std::span<const View> grads) = 0;
  const View& slot(std::size_t slot, std::size_t item) const;

 private:
  std::vector<Item> items_;
  std::vector<ckpt::NamedTensor> state_;  // slot by slot, items in order; "step" last
  Tensor rates_, updates_, squares_;      // kernels::UpdateRates, on the parameters' device
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};
std::unique_ptr<Optimizer> make_adamw(std::vector<Item> items, const AdamWOptions& options = {});

struct SgdOptions {
  double momentum = 0.9;
};
std::unique_ptr<Optimizer> make_sgd(std::vector<Item> items, const SgdOptions& options = {});

}  // namespace spn::optim
