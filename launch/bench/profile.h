// What `--profile` of a bench prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/view.h"

namespace spn::bench {

// Counts time by entry of the kernel table from here on: by the host's clock, or on a GPU by the device's.
void start_profile(Device device);

// Ends profiling: a line an entry of the kernel table, most time first, then one of JSON with the first 15. seconds:
// all timed steps together.
std::string profile_lines(double seconds, std::int64_t steps);

double median(std::vector<double> v);

}  // namespace spn::bench
