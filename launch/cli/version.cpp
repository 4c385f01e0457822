#include "launch/cli/version.h"

#include <H5public.h>
#include <dnnl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "engine/dist/comm.h"
#include "kernels/devices.h"
#include "spotniche_version.h"

namespace spn::cli {
namespace {

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

const char* version() { return SPN_VERSION; }

std::string version_text() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const auto* dnnl = dnnl_version();
  std::string gpus;
  for (const std::string& name : kernels::cuda_device_names()) gpus += "\n          cuda: " + name;
  return fmt::format(
      "spotniche {}\nbuild     {}, {}\nMPI       {}\nHDF5      {}.{}.{} (parallel)\noneDNN    {}.{}.{}\n"
      "CUDA      {}\nNCCL      {}\ndevices   cpu: {}, {} threads{}\n",
      SPN_VERSION, SPN_BUILD_TYPE, __VERSION__, dist::mpi_library(), major, minor, release, dnnl->major, dnnl->minor,
      dnnl->patch, kernels::cuda_versions(), dist::nccl_library(), processor(), std::thread::hardware_concurrency(),
      gpus);
}

}  // namespace spn::cli
