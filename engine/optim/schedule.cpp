#include "engine/optim/schedule.h"

#include <cmath>
#include <numbers>

namespace spn::optim {

double Cosine::at(std::int64_t step) const {
  if (step < warmup) return start * static_cast<double>(step) / static_cast<double>(warmup);
  if (step >= total) return end;
  const double done = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return end + 0.5 * (start - end) * (1 + std::cos(std::numbers::pi * done));
}

double scaled_lr(double base, std::int64_t global_batch) { return base * static_cast<double>(global_batch) / 256; }

}  // namespace spn::optim
