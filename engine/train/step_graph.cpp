#include "engine/train/step_graph.h"

#include "engine/core/log.h"
#include "engine/core/out_of_memory.h"

namespace spn::train {

StepGraph::StepGraph(const nn::Registry& registry, Device device, bool wanted, bool alone)
    : table_(kernels::table_for(device)), wanted_(wanted && table_.capture_begin != nullptr), alone_(alone) {
  for (const auto& e : registry.entries())
    if (e.value().dtype() == DType::i64) counters_.push_back(e.value());
}

StepGraph::~StepGraph() {
  if (graph_ != nullptr) table_.drop_graph(graph_);
}

void StepGraph::run(const std::function<void()>& body) {
  if (!wanted_ || runs_ < kPlain) {
    ++runs_;
    return body();
  }
  if (graph_ != nullptr) {
    for (std::size_t i = 0; i < counters_.size(); ++i) *counters_[i].data<std::int64_t>() += moves_[i];
    return table_.replay(graph_);
  }
  std::vector<std::int64_t> before;
  for (const Tensor& c : counters_) before.push_back(*c.data<std::int64_t>());
  try {
    capture(body);
  } catch (const OutOfMemory& e) {
    // A captured step takes memory of its own, and gives nothing back meanwhile: a plain one may still fit.
    if (!alone_)
      throw OutOfMemory("graph", fmt::format("while the step was captured: {}; or --cuda-graph off", e.what()));
    log::warn("graph: there is no memory to capture the step; going on without, as with --cuda-graph off ({})",
              e.what());
    wanted_ = false;
    for (std::size_t i = 0; i < counters_.size(); ++i) *counters_[i].data<std::int64_t>() = before[i];
    return body();
  }
  for (std::size_t i = 0; i < counters_.size(); ++i) moves_.push_back(*counters_[i].data<std::int64_t>() - before[i]);
  table_.replay(graph_);  // capturing has moved the counters, and nothing else
}

void StepGraph::capture(const std::function<void()>& body) {
  table_.capture_begin();
  try {
    body();
  } catch (...) {
    try {
      table_.drop_graph(table_.capture_end());
    } catch (...) {  // the first error says more
    }
    throw;
  }
  graph_ = table_.capture_end();
}

}  // namespace spn::train
