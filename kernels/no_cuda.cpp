// In place of kernels/cuda where the build has no CUDA backend: there is no CUDA table.
#include "kernels/devices.h"
#include "kernels/ladder/ladder.h"
#include "kernels/table.h"
#include "kernels/timing.h"

namespace spn::kernels {
const Table* cuda_table() { return nullptr; }
int cuda_device_count() { return 0; }
std::string why_no_cuda_device() {
  return "this build has no CUDA backend; use --device cpu, or build where nvcc is found";
}
void open_cuda_device(int) { table_for(Device{DeviceType::cuda, 0}); }  // says that there is none
std::vector<std::string> cuda_device_names() { return {}; }
std::string cuda_versions() { return "CUDA not in this build"; }
void allow_tf32(bool) {}
double cuda_wait_seconds() { return 0; }
std::int64_t cuda_free_bytes() { return 0; }
double cuda_seconds(const std::function<void()>&) { fail("timing", "no CUDA backend in this build"); }
void* cuda_moment() { fail("timing", "no CUDA backend in this build"); }
double cuda_seconds_between(void*, void*) { fail("timing", "no CUDA backend in this build"); }
std::span<const Rung> rungs_of(std::string_view) { return {}; }
}  // namespace spn::kernels
