#include "engine/optim/ema.h"

#include "engine/ckpt/restore.h"
#include "kernels/table.h"

namespace spn::optim {

Ema::Ema(const nn::Registry& registry, double decay) : decay_(decay) {
  if (!(decay > 0 && decay < 1)) fail_usage("ema", "--ema-decay: expected 0 < decay < 1, got {}", decay);
  for (const auto& e : registry.entries()) {
    if (e.parameter && !e.parameter.requires_grad()) continue;
    weights_.push_back(e.value());
    average_.push_back({e.name, e.value().clone()});
  }
}

void Ema::update(const Tensor& squares) {
  std::vector<kernels::LerpPair> pairs;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (is_floating(weights_[i].dtype()))
      pairs.push_back({.y = average_[i].tensor, .x = weights_[i]});
    else
      average_[i].tensor.copy_from(weights_[i]);
  }
  kernels::run<&kernels::Table::lerp>({.pairs = pairs, .weight = 1 - decay_, .squares = squares});
}

void Ema::restart() {
  for (std::size_t i = 0; i < weights_.size(); ++i) average_[i].tensor.copy_from(weights_[i]);
}

void Ema::load_state(const std::map<std::string, Tensor>& saved, const std::string& source) {
  ckpt::restore("ema", "the averaged weights", average_, saved, source);
}

}  // namespace spn::optim
