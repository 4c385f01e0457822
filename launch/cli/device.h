// --device: where a command computes, and what ranks talk over there.
#pragma once

#include <memory>
#include <string>

#include "engine/dist/comm.h"
#include "launch/cli/options.h"
#include "launch/cli/precision.h"

namespace spn::cli {

class DeviceChoice {
 public:
  void add_to(Options& options);
  const std::string& name() const { return name_; }
  // cpu: nothing to do. cuda: takes one GPU a rank (by its place among the ranks of its host, or the one that the
  // scheduler shows it), and sets TF32 as asked for. Collective; usage errors on all ranks when any rank has no GPU for
  // itself.
  void open(dist::Comm& world, const Precision& precision);
  Device device() const;
  // What the training step talks over: `world`, or where ranks have GPUs NCCL between them, which the first call opens.
  // Collective then. Commands whose ranks exchange host memory alone never ask.
  dist::Comm& comm(dist::Comm& world);
  // For the log: "cpu", or the GPU's name.
  std::string description() const;

 private:
  std::string name_ = "cpu";
  int index_ = 0;
  std::unique_ptr<dist::Comm> nccl_;
};

}  // namespace spn::cli
