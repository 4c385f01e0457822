// Sums gradients over ranks in buckets, overlapped with backward: a bucket goes out as soon as its last gradient is
// ready.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/autograd/var.h"
#include "engine/dist/comm.h"

namespace spn::train {

class GradSync {
 public:
  // Hooks the parameters. One rank: does nothing at all.
  GradSync(std::vector<Var> parameters, dist::Comm& comm, std::size_t bucket_bytes = std::size_t{4} << 20);
  ~GradSync();
  // Off during all but the last backward pass of a step; off at start.
  void enable(bool on);
  // Waits for all buckets; afterwards each parameter's gradient is the sum over ranks (zeros where no rank had one).
  // Returns the seconds spent waiting here. Switches off.
  double finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::train
