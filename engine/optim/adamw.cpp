// AdamW: decoupled weight decay, bias-corrected moments.
#include "engine/optim/optimizer.h"
#include "kernels/table.h"

namespace spn::optim {
namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(std::vector<Item> items, const AdamWOptions& o)
      : Optimizer(std::move(items), {"exp_avg", "exp_avg_sq"}), options_(o) {}

 private:
  void apply(const kernels::UpdateRates& update, std::span<const std::size_t> present,
             std::span<const View> grads) override {
    params_.clear();
    for (std::size_t k = 0; k < present.size(); ++k) {
      const Item& i = items()[present[k]];
      params_.push_back({.w = i.var.value(),
                         .grad = grads[k],
                         .m = slot(0, present[k]),
                         .v = slot(1, present[k]),
                         .copy = i.var.rounded(),
                         .decay_scale = i.decay ? 1.0 : 0.0,
                         .lr_scale = i.lr_scale});
    }
    kernels::run<&kernels::Table::adamw>(
        {.params = params_, .update = update, .beta1 = options_.beta1, .beta2 = options_.beta2, .eps = options_.eps});
  }

  AdamWOptions options_;
  std::vector<kernels::AdamWParam> params_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(std::vector<Item> items, const AdamWOptions& options) {
  return std::make_unique<AdamW>(std::move(items), options);
}

}  // namespace spn::optim
