// A step that is recorded once and replayed: what the host does in a step (shapes, tapes, launches) costs as much as
// small kernels do, and is the same in every step.
#pragma once

#include <functional>
#include <vector>

#include "engine/nn/registry.h"
#include "kernels/table.h"

namespace spn::train {

class StepGraph {
 public:
  // Where the device cannot capture, or wanted is false, every run is plain. The registry's host counters
  // (num_batches_tracked), which a replay would not move, are moved by what they moved while capturing.
  // alone: no other rank runs this step. Where there is no memory to capture it, it then goes on plainly; several ranks
  // throw, as those that capture would wait for those that cannot.
  StepGraph(const nn::Registry& registry, Device device, bool wanted, bool alone = true);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Runs body plainly the first kPlain times (libraries choose algorithms, scratch grows), then captures it and replays
  // it ever after. body must read nothing on the host and take all that changes from device memory.
  void run(const std::function<void()>& body);
  bool replays() const { return graph_ != nullptr; }

  static constexpr int kPlain = 2;

 private:
  void capture(const std::function<void()>& body);

  const kernels::Table& table_;
  bool wanted_, alone_;
  int runs_ = 0;
  void* graph_ = nullptr;
  std::vector<Tensor> counters_;
  std::vector<std::int64_t> moves_;
};

}  // namespace spn::train
