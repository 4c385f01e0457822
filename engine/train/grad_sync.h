// Sums gradients over ranks in buckets, overlapped with backward: a bucket goes out as soon as its last gradient is
// ready.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/autograd/var.h"
#include "engine/dist/comm.h"

namespace spn::train {

// Convention: a loss is this rank's share, so gradients add up.
class GradSync {
 public:
  // Hooks the parameters, given in registration order, the same on all ranks; those that require no gradient are left
  // out. One rank: does nothing at all. bucket_bytes 0: 4 MiB for host memory, 25 MiB for devices.
  GradSync(std::vector<Var> parameters, dist::Comm& comm, std::size_t bucket_bytes = 0);
  ~GradSync();
  GradSync(const GradSync&) = delete;
  GradSync& operator=(const GradSync&) = delete;
  // Off during all but the last backward pass of a step; off at start.
  void enable(bool on);
  // Waits for all buckets; afterwards each parameter's gradient is the sum over ranks, a slice of a bucket, valid until
  // the next step's backward. A parameter without a gradient on some ranks counts as zeros there; without one on all
  // ranks it stays without, as with one rank. Switches off.
  void finish();
  int buckets() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null with one rank
};

}  // namespace spn::train
