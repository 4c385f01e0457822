#include "engine/optim/optimizer.h"

#include <cmath>

#include "engine/ckpt/restore.h"
#include "kernels/table.h"

namespace spn::optim {

Optimizer::Optimizer(std::vector<Item> items, std::initializer_list<const char*> slots) : items_(std::move(items)) {
  check(!items_.empty(), "optim", "no parameter is trained; unfreeze some");
  for (const char* s : slots)
    for (const Item& i : items_) {
      const Tensor& w = i.var.value();
      const Tensor zero = Tensor::empty(w.shape(), w.dtype(), w.device());
      zero.fill(0);
      state_.push_back({std::string(s) + "." + i.var.name(), zero});
    }
  const Device device = items_.front().var.value().device();
  rates_ = Tensor::zeros({2}, DType::f64, device);
  updates_ = Tensor::zeros({1}, DType::f64, device);
  squares_ = Tensor::zeros({1}, DType::f64, device);
  state_.push_back({"step", Tensor::from(std::vector<std::int64_t>{0}, {})});
}

std::int64_t Optimizer::steps() const { return *state_.back().tensor.data<std::int64_t>(); }

const View& Optimizer::slot(std::size_t slot, std::size_t item) const {
  return state_[slot * items_.size() + item].tensor.view();
}

void Optimizer::zero_grad() const {
  for (const Item& i : items_) i.var.clear_grad();
}

void Optimizer::load_state(const std::map<std::string, Tensor>& saved, const std::string& source) {
  ckpt::restore("optim", "the optimiser state", state_, saved, source);
  updates_.fill(static_cast<double>(steps()));
}

void Optimizer::set_rates(const StepArgs& args) {
  rates_.copy_from(Tensor::from<double>({args.lr, args.weight_decay}, {2}));
}

void Optimizer::update(double clip_norm) {
  std::vector<std::size_t> present;
  std::vector<Tensor> dense;  // owns what grads views
  std::vector<View> grads;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Tensor& g = items_[i].var.grad();
    if (!g) continue;
    present.push_back(i);
    dense.push_back(g.contiguous());
    grads.push_back(dense.back().view());
  }
  if (grads.empty())
    squares_.fill(0);
  else
    kernels::run<&kernels::Table::sum_of_squares>({.x = grads, .out = squares_});
  apply({.rates = rates_, .updates = updates_, .squares = squares_, .max_norm = clip_norm}, present, grads);
}

StepResult Optimizer::finish(double squares) {
  StepResult r;
  r.grad_norm = std::sqrt(squares);
  r.skipped = !std::isfinite(r.grad_norm);
  if (!r.skipped) ++*state_.back().tensor.data<std::int64_t>();
  return r;
}

}  // namespace spn::optim
