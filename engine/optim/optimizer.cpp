#include "engine/optim/optimizer.h"

#include <cmath>
#include <set>

#include "engine/optim/clip.h"

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
  std::string problems;
  int count = 0;
  const auto problem = [&](const std::string& text) {
    if (++count <= 20) problems += "\n  " + text;
  };
  std::set<std::string> known;
  for (const auto& [name, t] : state_) {
    known.insert(name);
    const auto it = saved.find(name);
    if (it == saved.end())
      problem("missing " + name);
    else if (!(it->second.shape() == t.shape()) || it->second.dtype() != t.dtype())
      problem(fmt::format("{}: expected {} {}, got {} {}", name, name_of(t.dtype()), t.shape().str(),
                          name_of(it->second.dtype()), it->second.shape().str()));
  }
  for (const auto& [name, t] : saved)
    if (known.count(name) == 0) problem("unexpected " + name);
  if (count > 0)
    fail_data("optim",
              "the optimiser state of {} does not fit: {} tensors differ; resume with the same model, optimiser "
              "and frozen parts:{}",
              source, count, problems);
  for (const auto& [name, t] : state_) t.copy_from(saved.at(name).to(t.device()));
}

StepResult Optimizer::step(const StepArgs& args) {
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
  StepResult r;
  r.grad_norm = global_norm(grads);
  if (!std::isfinite(r.grad_norm)) {
    r.skipped = true;
    ++skipped_;
    return r;
  }
  std::int64_t& step = *state_.back().tensor.data<std::int64_t>();
  update(args, clip_scale(r.grad_norm, args.clip_norm), step + 1, present, grads);
  ++step;
  return r;
}

}  // namespace spn::optim
