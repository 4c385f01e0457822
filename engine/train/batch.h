// What the training loop consumes. engine never sees files; launch wires a source.
#pragma once

#include "engine/models/batch.h"

namespace spn::train {

using models::Batch;

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // The next step's batch; waits for it. Throws what reading threw.
  virtual Batch next() = 0;
};

}  // namespace spn::train
