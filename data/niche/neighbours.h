// Which spots lie near which: by radius or k nearest, and the array's step in px. Uniform grid, so that a slide of
// 600,000 spots takes seconds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spn::data {

// Lists of unequal length: those of spot i are index[begin[i] … begin[i+1]), itself first, then by distance, ties by
// index.
struct Neighbours {
  std::vector<std::int64_t> begin;  // [n + 1]
  std::vector<std::int32_t> index;
  std::span<const std::int32_t> of(std::int64_t i) const {
    const auto b = static_cast<std::size_t>(begin[static_cast<std::size_t>(i)]);
    const auto e = static_cast<std::size_t>(begin[static_cast<std::size_t>(i) + 1]);
    return {index.data() + b, e - b};
  }
};

// x, y [n] in one unit. The spot itself and all others at distance ≤ radius.
Neighbours neighbours_within(std::span<const double> x, std::span<const double> y, double radius);
// The spot itself and its k nearest others (fewer when there are fewer).
Neighbours nearest_neighbours(std::span<const double> x, std::span<const double> y, std::int64_t k);
// Median over spots of the distance to the nearest other (mean of the middle two for even n); n ≥ 2.
double median_nearest_distance(std::span<const double> x, std::span<const double> y);

}  // namespace spn::data
