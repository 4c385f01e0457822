// What this build is: for --version and the run log.
#pragma once

#include <string>

namespace spn::cli {

// Several lines: version, build type, MPI, HDF5, oneDNN, CUDA/cuDNN/NCCL, devices.
std::string version_text();
const char* version();  // "0.1.0"

}  // namespace spn::cli
