// How long the CUDA device takes, by its own clock.
#pragma once

#include <functional>

namespace spn::kernels {

// Seconds from the start to the end of what `work` queues on the compute stream, by events around it. Nothing of the
// work's memory is in the L2 cache when it begins, and the stream is kept busy for 2 ms while the host queues it: of
// work that takes the host longer, that is counted too.
double cuda_seconds(const std::function<void()>& work);

// A moment on the compute stream, behind what is queued so far; the host does not wait. Not while a step is captured.
void* cuda_moment();
// Waits for `to`, and ends both.
double cuda_seconds_between(void* from, void* to);

// As profile_start (kernels/profile.h), by the device's clock: a moment before and after each entry, read when the
// profile is stopped. What a short entry's launch takes the host longer than the device its work is in there.
void profile_start_on_device();

}  // namespace spn::kernels
