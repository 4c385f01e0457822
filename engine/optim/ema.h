// An exponential moving average of a model's weights, as timm's ModelEmaV3 by default: what is trained and floating
// buffers (running statistics) are averaged, integer buffers are copied. Frozen parameters are left out: their average
// is themselves.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"
#include "engine/nn/registry.h"

namespace spn::optim {

class Ema {
 public:
  // Starts from the weights as they are. Freeze before. Usage error unless 0 < decay < 1.
  Ema(const nn::Registry& registry, double decay);

  // average = decay · average + (1 − decay) · weights. squares: of the update before it (Optimizer::squares); not
  // finite: that was skipped, and the average stays too, but for the counters, which are copied. The host need not
  // know.
  void update(const Tensor& squares = {});
  // The average becomes the weights as they are.
  void restart();

  // Under the model's names; the tensors share storage with the average.
  const std::vector<ckpt::NamedTensor>& state() const { return average_; }
  // Restores it. Data error listing every tensor that does not fit and naming `source`; then nothing is changed.
  void load_state(const std::map<std::string, Tensor>& saved, const std::string& source);

 private:
  std::vector<Tensor> weights_;  // of the model, in the order of average_
  std::vector<ckpt::NamedTensor> average_;
  double decay_;
};

}  // namespace spn::optim
