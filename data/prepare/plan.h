// Which slides, and which rank takes which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/schema/slide.h"

namespace spn::data {

// The slides that the patterns name (exact names, or globs; each may hold several, parted by commas), in the order of
// `all`; all of them without patterns. Usage error for a pattern that matches nothing, with names that exist.
std::vector<SlideInfo> select_slides(const std::vector<SlideInfo>& all, const std::vector<std::string>& patterns);

// Rank of each item: the largest first, each to the rank with least so far. The same on every rank.
std::vector<int> spread(const std::vector<std::int64_t>& bytes, int ranks);

}  // namespace spn::data
