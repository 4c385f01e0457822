// How long the CUDA device takes, by its own clock.
#pragma once

#include <functional>

namespace spn::kernels {

// Seconds from the start to the end of what `work` queues on the compute stream, by events around it; nothing of the
// work's memory is in the L2 cache when it begins.
double cuda_seconds(const std::function<void()>& work);

}  // namespace spn::kernels
