#include "data/niche/windows.h"

#include "engine/core/check.h"

namespace spn::data {

Window window_around(double x, double y, double side_um, double um_per_px) {
  check(side_um > 0 && um_per_px > 0, "window", "expected a side and µm/px above 0, got {} and {}", side_um, um_per_px);
  const double half = side_um / um_per_px / 2;
  return {x - half, y - half, x + half, y + half};
}

}  // namespace spn::data
