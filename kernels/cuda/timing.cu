// What cuda_seconds queues before the work it times.
#include "kernels/cuda/device/timing.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/timing.h"

namespace spn::kernels::cuda {

void read_whole(const void* zeros, std::size_t bytes, unsigned* found) {
  const auto n = static_cast<std::int64_t>(bytes / sizeof(Pack<unsigned>));
  launch(read_through, grid_for(n), dim3(kBlock), 0, stream(), found, static_cast<const Pack<unsigned>*>(zeros), n);
}

void keep_busy(double seconds) {
  launch(hold, dim3(1), dim3(1), 0, stream(), static_cast<std::uint64_t>(seconds * 1e9));
}

}  // namespace spn::kernels::cuda
