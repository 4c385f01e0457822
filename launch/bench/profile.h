// What `--profile` of a bench prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::bench {

// Ends profiling: a line an entry of the kernel table, most time first. seconds: all timed steps together.
std::string profile_lines(double seconds, std::int64_t steps);

double median(std::vector<double> v);

}  // namespace spn::bench
