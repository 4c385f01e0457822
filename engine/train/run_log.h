// RUN_DIR's files (contract of the command line): config.cfg, metrics.jsonl, events.jsonl; and the progress line.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace spn::train {

// One line of metrics.jsonl, in this order. Accuracies: top-1 over the global batch, mean of both directions.
struct Metrics {
  std::int64_t step = 0, epoch = 0, pairs_seen = 0;
  double loss = 0, loss_spot = 0, loss_niche = 0, loss_cross = 0, acc_spot = 0, acc_niche = 0, acc_cross = 0;
  double lr = 0, weight_decay = 0, grad_norm = 0, pairs_per_s = 0;
  double step_s = 0, data_s = 0, forward_s = 0, backward_s = 0, comm_s = 0, optimizer_s = 0;
  std::int64_t mem_bytes = 0;
};

using EventValue = std::variant<std::string, double, std::int64_t, std::vector<std::string>>;

class RunLog {
 public:
  // writes = false (ranks other than 0): every call does nothing. Makes the folder. resume_step >= 0: metrics lines of
  // steps after it are cut off, so that no step appears twice; otherwise an existing metrics.jsonl is a usage error
  // that says how to resume.
  RunLog(const std::string& run_dir, bool writes, std::int64_t resume_step, std::int64_t total_steps);
  ~RunLog();
  void write_config(const std::string& text);
  // Appends a line (NaN and infinity as null) and shows progress on stderr. Data error when the disk is full.
  void metrics(const Metrics& m);
  // Appends {"event": kind, "time": UTC, fields…}. A full disk is a warning here.
  void event(const std::string& kind, const std::map<std::string, EventValue>& fields);
  // The event "error" of any rank, as it may be the only one that fails: a rank that does not write opens the file for
  // this line.
  void error(int rank, const std::string& message);

 private:
  struct Impl;
  std::string run_dir_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::train
