// Where a step reads its batch: on a device, tensors that stay and are filled anew for every step (a captured step
// knows their addresses); on the host, the batch as the loader made it.
#pragma once

#include <span>

#include "engine/train/batch.h"
#include "kernels/args/dropout.h"

namespace spn::train {

class Staging {
 public:
  explicit Staging(Device device) : device_(device) {}
  // A batch that waits may still be landing: its memory is given back behind that.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Takes the next step's batch: on a device it begins its way there, beside the step at work, into memory of its own.
  // Shapes must be the same in every step. with_facts: slide, position and cluster too.
  void put(const Batch& batch, bool with_facts);
  // Makes the batch put last the one at hand; queued behind the step before. rates: what else changes from step to
  // step, into `to` (f64, as many).
  void take(std::span<const double> rates, const Tensor& to);

  const Batch& batch() const { return batch_; }
  // On a device the batch's step and first_sample are 0 and these are added when kernels run; null on the host.
  const kernels::BatchClock* clock() const;

 private:
  void upload(const Tensor& from, Tensor& to) const;

  Device device_;
  Batch batch_;    // that the step reads
  Tensor clock_;   // i64 [2], as BatchClock
  Batch waiting_;  // on the host, or landing on the device while the step before reads batch_
  Tensor waiting_clock_, waiting_rates_;
};

}  // namespace spn::train
