// What `--profile` of a bench prints: time by entry of the kernel table, and how near that is to what the device can
// do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/view.h"
#include "kernels/profile.h"
#include "launch/bench/rates.h"

namespace spn::bench {

// Counts time by entry of the kernel table from here on, until kernels::profile_stop: by the host's clock, or on a GPU
// by the device's.
void start_profile(Device device);

// A line an entry, in the order of rows, then one of JSON with the first 15. An entry's bytes and operations are the
// least that its calls have to move and multiply (kernels/work.h), held against `rates`: what is nearer to its rate
// bounds it. Above 100 % what it moves lies in a cache; far from both are entries of few bytes, whose time is the
// launch. The last line adds up what each entry could not do without, at most its own time. seconds: all timed steps
// together.
std::string profile_lines(const std::vector<kernels::ProfileRow>& rows, double seconds, std::int64_t steps,
                          const Rates& rates);

}  // namespace spn::bench
