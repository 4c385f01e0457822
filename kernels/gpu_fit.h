// Whether this build can use the GPUs of a machine, said in words: no driver, one that is too old, no device, a device
// that the build has no code for. Plain values in, so that every answer is tested where there is no GPU.
#pragma once

#include <string>
#include <string_view>

namespace spn::kernels {

// What the CUDA libraries said. Versions as theirs: 13000 is 13.0.
struct GpuState {
  int runtime = 0;      // that this build was made with
  int driver = 0;       // the newest that the driver knows; 0: there is no driver
  int devices = 0;      // that this process sees
  std::string error;    // of asking for the devices, beside those above; empty: none
  std::string visible;  // CUDA_VISIBLE_DEVICES; "unset"
};

// What is in the way and what to do about it; empty where there is a device and a driver that fits.
std::string why_no_gpu(const GpuState& state);

// Whether a build for `architectures` (CMAKE_CUDA_ARCHITECTURES: "80-real;90a-real;100") has code for a device of
// compute capability major.minor: the code of an architecture runs on later ones of its generation, one with a letter
// on itself alone; without -real it also brings code that the driver of any later device translates.
bool has_code_for(std::string_view architectures, int major, int minor);

}  // namespace spn::kernels
