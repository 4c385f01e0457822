// SGD with momentum, PyTorch's form.
#include "engine/optim/optimizer.h"
#include "kernels/table.h"

namespace spn::optim {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<Item> items, const SgdOptions& o) : Optimizer(std::move(items), {"momentum"}), options_(o) {}

 private:
  void apply(const kernels::UpdateRates& update, std::span<const std::size_t> present,
             std::span<const View> grads) override {
    params_.clear();
    for (std::size_t k = 0; k < present.size(); ++k) {
      const Item& i = items()[present[k]];
      params_.push_back({.w = i.var.value(),
                         .grad = grads[k],
                         .momentum = slot(0, present[k]),
                         .decay_scale = i.decay ? 1.0 : 0.0,
                         .lr_scale = i.lr_scale});
    }
    kernels::run<&kernels::Table::sgd>({.params = params_, .update = update, .momentum = options_.momentum});
    for (const std::size_t i : present) items()[i].var.renew_rounded();
  }

  SgdOptions options_;
  std::vector<kernels::SgdParam> params_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(std::vector<Item> items, const SgdOptions& options) {
  return std::make_unique<Sgd>(std::move(items), options);
}

}  // namespace spn::optim
