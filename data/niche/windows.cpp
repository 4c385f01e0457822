#include "data/niche/windows.h"

#include <algorithm>
#include <numeric>

#include "engine/core/check.h"

namespace spn::data {

Window window_around(double x, double y, double side_um, double um_per_px) {
  check(side_um > 0 && um_per_px > 0, "window", "expected a side and µm/px above 0, got {} and {}", side_um, um_per_px);
  const double half = side_um / um_per_px / 2;
  return {x - half, y - half, x + half, y + half};
}

std::vector<std::int64_t> by_top_edge(std::span<const Window> windows) {
  std::vector<std::int64_t> order(windows.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::int64_t i) { return windows[static_cast<std::size_t>(i)].top; });
  return order;
}

}  // namespace spn::data
