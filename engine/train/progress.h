// The progress of a run: one line that is redrawn on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/train/run_log.h"

namespace spn::train {

// "step 120/300  epoch 3  loss 2.1342  …". remaining_s < 0: not known yet.
std::string progress_text(const Metrics& m, std::int64_t total_steps, double pairs_per_s, double remaining_s);
// "1:02:03", "4:05", "12 s".
std::string duration_text(double seconds);

// When to show what. Time is given, in seconds of any clock.
class Progress {
 public:
  Progress(bool terminal, std::int64_t total_steps) : terminal_(terminal), total_(total_steps) {}
  // What to print after this step, if anything: at most ten times a second on a terminal, every ten seconds elsewhere;
  // always for the first and the last step.
  std::optional<std::string> update(const Metrics& m, double now);

 private:
  bool terminal_;
  std::int64_t total_;
  double last_step_ = -1, last_shown_ = -1;  // times
  double step_s_ = -1;                       // running mean of the time from step to step
};

}  // namespace spn::train
