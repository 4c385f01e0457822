// What timing queues before the work that it times, on the compute stream.
#pragma once

#include <cstddef>

namespace spn::kernels::cuda {

// Reads bytes (a multiple of 16) of device memory; found, on the device, becomes 1 where they are not all zero.
void read_whole(const void* zeros, std::size_t bytes, unsigned* found);
// The stream goes on after so long: what the host queues meanwhile runs without gaps.
void keep_busy(double seconds);

}  // namespace spn::kernels::cuda
