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

Staging::~Staging() {
  if (device_.type == DeviceType::cpu) return;
  try {
    kernels::table_for(device_).await_uploads();
  } catch (...) {  // the error that ends the run says more
  }
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
  for (const auto t : kTensors) {
    if (!(b.*t) || (is_fact(t) && !with_facts) || (t == &Batch::niche_image && b.niche_feature)) continue;
    upload(b.*t, waiting_.*t);
  }
  upload(Tensor::from(std::vector<std::int64_t>{b.step, b.first_sample}, {2}), waiting_clock_);
}

void Staging::take(std::span<const double> rates, const Tensor& to) {
  const Tensor given = Tensor::from(rates, {static_cast<std::int64_t>(rates.size())});
  if (device_.type == DeviceType::cpu) {
    batch_ = std::exchange(waiting_, {});
    return to.copy_from(given);
  }
  const kernels::Table& table = kernels::table_for(device_);
  upload(given, waiting_rates_);
  table.await_uploads();
  const auto adopt = [&](const Tensor& from, Tensor& into) {
    if (!from) return;
    if (!into) into = Tensor::empty_like(from);
    into.copy_from(from);
  };
  for (const auto t : kTensors) adopt(waiting_.*t, batch_.*t);
  adopt(waiting_clock_, clock_);
  to.copy_from(waiting_rates_);
  table.uploads_follow();  // the next batch lands where this one has been read
}

}  // namespace spn::train
