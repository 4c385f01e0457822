// The CUDA devices of this machine: for launchers, which choose one a rank, and for reports.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::kernels {

// Devices that this process can use; 0 without a CUDA build or a driver.
int cuda_device_count();
// Why there are none, and what to do: no CUDA build, no driver, one too old, nothing visible. Empty where there are.
std::string why_no_cuda_device();
// Takes device `index` for this process: Device{cuda, 0} means it from then on. Before the first tensor there. Errors
// say what is missing: the backend in this build, a driver, a newer driver, an architecture that this build knows.
void open_cuda_device(int index);
// "NVIDIA H100 80GB HBM3, 9.0, 79.1 GiB", one a device.
std::vector<std::string> cuda_device_names();
// How long the host has been in a call that may wait for the device, at this moment; 0: it is in none. From any thread.
double cuda_wait_seconds();
// Memory of the open device that nobody holds.
std::int64_t cuda_free_bytes();
// Of the libraries in this build, for --version and the run's log.
std::string cuda_versions();
// f32 products in TF32 (10 bits of mantissa) on tensor cores, from now on. Off at start.
void allow_tf32(bool on);

}  // namespace spn::kernels
