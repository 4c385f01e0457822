#include "engine/train/step_graph.h"

namespace spn::train {

StepGraph::StepGraph(const nn::Registry& registry, Device device, bool wanted)
    : table_(kernels::table_for(device)), wanted_(wanted && table_.capture_begin != nullptr) {
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
  for (std::size_t i = 0; i < counters_.size(); ++i) moves_.push_back(*counters_[i].data<std::int64_t>() - before[i]);
  table_.replay(graph_);  // capturing has moved the counters, and nothing else
}

}  // namespace spn::train
