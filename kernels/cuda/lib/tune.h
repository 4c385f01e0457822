// Which of a library's candidates is the fastest: its heuristics' first, or where SPN_TUNE=1 the one that takes the
// least time when the problem is met for the first time. What is measured decides the order of sums then, and may
// decide otherwise in the next run: off unless asked for.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

namespace spn::kernels::cuda {

// SPN_TUNE=1, outside a captured step.
bool may_tune();
// Seconds of one call on the compute stream, the least of a few; infinite where call returns false. It waits for the
// device.
double seconds_of(bool (*call)(const void* what), const void* what);
template <class F>
double seconds_of(const F& f) {
  return seconds_of([](const void* what) { return (*static_cast<const F*>(what))(); }, &f);
}

// Puts the fastest of `candidates` first. seconds(candidate): infinite for one that is refused, and those are struck
// off. The others keep the order of the heuristics, and so do two that are within 3 % of each other.
template <class C, class F>
void fastest_first(std::vector<C>& candidates, F&& seconds) {
  std::vector<C> left;
  double best = std::numeric_limits<double>::infinity();
  std::size_t at = 0;
  for (C& c : candidates) {
    const double s = seconds(c);
    if (s == std::numeric_limits<double>::infinity()) continue;
    if (s < 0.97 * best) best = s, at = left.size();
    left.push_back(c);
  }
  if (!left.empty())
    std::rotate(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(at),
                left.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  candidates = std::move(left);
}

}  // namespace spn::kernels::cuda
