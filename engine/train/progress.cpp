#include "engine/train/progress.h"

#include <fmt/format.h>

#include <cmath>

namespace spn::train {

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string progress_text(const Metrics& m, std::int64_t total_steps, double pairs_per_s, double remaining_s) {
  return fmt::format(
      "step {}/{}  epoch {}  loss {:.4f} (spot {:.3f}, niche {:.3f}, cross {:.3f})  {:.0f} pairs/s  "
      "left {}  mem {:.2f} GiB",
      m.step, total_steps, m.epoch, m.loss, m.loss_spot, m.loss_niche, m.loss_cross, pairs_per_s,
      remaining_s < 0 ? "?" : duration_text(remaining_s), static_cast<double>(m.mem_bytes) / (1024.0 * 1024 * 1024));
}

std::optional<std::string> Progress::update(const Metrics& m, double now) {
  const double took = last_step_ < 0 ? m.step_s : now - last_step_;
  last_step_ = now;
  const double pairs = m.pairs_per_s * m.step_s;  // of one step
  step_s_ = step_s_ < 0 ? took : 0.9 * step_s_ + 0.1 * took;
  const bool first = last_shown_ < 0, last = m.step >= total_;
  if (!first && !last && now - last_shown_ < (terminal_ ? 0.1 : 10.0)) return std::nullopt;
  last_shown_ = now;
  const double left = static_cast<double>(total_ - m.step) * step_s_;
  // the first step also warms caches up: no forecast from it alone
  return progress_text(m, total_, step_s_ > 0 ? pairs / step_s_ : 0, first && !last ? -1 : left);
}

}  // namespace spn::train
