// Where a step reads its batch: on a device, tensors that stay and are filled anew for every step (a captured step
// knows their addresses); on the host, the batch as the loader made it.
#pragma once

#include <array>

#include "engine/train/batch.h"
#include "kernels/args/dropout.h"

namespace spn::train {

class Staging {
 public:
  explicit Staging(Device device) : device_(device) {}

  // Takes the next step's batch: on a device it begins its way there, beside the step at work, into memory of its own.
  // Shapes must be the same in every step. with_facts: slide, position and cluster too.
  void put(const Batch& batch, bool with_facts);
  // Makes the batch put last the one at hand; queued behind the step before.
  void take();

  const Batch& batch() const { return batch_; }
  // On a device the batch's step and first_sample are 0 and these are added when kernels run; null on the host.
  const kernels::BatchClock* clock() const;

 private:
  // What lies on the device for one step.
  struct Landed {
    Batch batch;
    Tensor clock;  // i64 [2], as BatchClock
  };
  void upload(const Tensor& from, Tensor& to) const;

  Device device_;
  Batch batch_;  // that the step reads
  Tensor clock_;
  Batch waiting_;                  // on the host
  std::array<Landed, 2> landing_;  // they take turns: one is read while the other is written
  int turn_ = 0;
};

}  // namespace spn::train
