#include "engine/train/staging.h"

#include "kernels/table.h"

namespace spn::train {
namespace {

static_assert(sizeof(kernels::BatchClock) == 2 * sizeof(std::int64_t));

// Every tensor of a batch that a step may read.
constexpr Tensor Batch::*kTensors[] = {&Batch::spot_image, &Batch::niche_image, &Batch::niche_feature,
                                       &Batch::spot_gene,  &Batch::niche_gene,  &Batch::slide,
                                       &Batch::cluster,    &Batch::xy_um};
bool is_fact(Tensor Batch::*t) { return t == &Batch::slide || t == &Batch::cluster || t == &Batch::xy_um; }

}  // namespace

const kernels::BatchClock* Staging::clock() const {
  return clock_ ? static_cast<const kernels::BatchClock*>(clock_.view().data) : nullptr;
}

void Staging::upload(const Tensor& from, Tensor& to) const {
  if (!to) {
    to = Tensor::empty(from.shape(), from.dtype(), device_);
    // its memory may have been another tensor's a moment ago, whom kernels still read: uploads do not wait for them
    kernels::table_for(device_).sync();
  }
  check(to.shape() == from.shape() && to.dtype() == from.dtype(), "batch",
        "expected {} {} as in the first step, got {} {}", name_of(to.dtype()), to.shape().str(), name_of(from.dtype()),
        from.shape().str());
  if (from.device() == device_) return to.copy_from(from);  // the source keeps its rows there
  const Tensor dense = from.contiguous();
  kernels::table_for(device_).upload(to.view().data, dense.view().data, dense.bytes());
}

void Staging::put(const Batch& b, bool with_facts) {
  if (device_.type == DeviceType::cpu) {
    waiting_ = b;
    return;
  }
  Landed& to = landing_[static_cast<std::size_t>(turn_)];
  for (const auto t : kTensors) {
    if (!(b.*t) || (is_fact(t) && !with_facts) || (t == &Batch::niche_image && b.niche_feature)) continue;
    upload(b.*t, to.batch.*t);
  }
  upload(Tensor::from(std::vector<std::int64_t>{b.step, b.first_sample}, {2}), to.clock);
}

void Staging::take() {
  if (device_.type == DeviceType::cpu) {
    batch_ = std::exchange(waiting_, {});
    return;
  }
  kernels::table_for(device_).await_uploads();
  const auto adopt = [&](const Tensor& from, Tensor& to) {
    if (!from) return;
    if (!to) to = Tensor::empty_like(from);
    to.copy_from(from);
  };
  const Landed& from = landing_[static_cast<std::size_t>(turn_)];
  for (const auto t : kTensors) adopt(from.batch.*t, batch_.*t);
  adopt(from.clock, clock_);
  turn_ = 1 - turn_;
}

}  // namespace spn::train
