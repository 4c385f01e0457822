#include "launch/cli/device.h"

#include <unistd.h>

#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "kernels/devices.h"
#include "kernels/table.h"

namespace spn::cli {
namespace {

struct Place {
  int local = 0, on_host = 0;  // this rank among those of its host, and how many they are
};

Place place_of(dist::Comm& world) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  Place p;
  const auto hosts = dist::all_gather_strings(world, host);
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    if (hosts[r] != host) continue;
    ++p.on_host;
    if (static_cast<int>(r) < world.rank()) ++p.local;
  }
  return p;
}

}  // namespace

void DeviceChoice::add_to(Options& options) {
  options.add("device", &name_, "where to compute: cuda takes one GPU a rank");
  options.choices("device", {"cpu", "cuda"});
}

Device DeviceChoice::device() const { return name_ == "cuda" ? Device{DeviceType::cuda, 0} : Device{}; }

void DeviceChoice::open(dist::Comm& world, const Precision& precision) {
  if (name_ == "cpu") {
    if (precision.name == "tf32") fail_usage("device", "--precision tf32 is of --device cuda; CPUs have no such unit");
    return;
  }
  const Place place = place_of(world);
  dist::together(world, "device", [&] {
    if (const std::string why = kernels::why_no_cuda_device(); !why.empty())
      fail_usage("device", "--device cuda: {}", why);
    const int count = kernels::cuda_device_count();
    // a scheduler that binds GPUs shows each rank its own one
    if (count > 1 && place.on_host > count)
      fail_usage("device", "{} ranks on a host with {} GPUs; start one rank a GPU", place.on_host, count);
    index_ = count == 1 ? 0 : place.local;
    kernels::open_cuda_device(index_);
    kernels::allow_tf32(precision.name == "tf32");
  });
}

dist::Comm& DeviceChoice::comm(dist::Comm& world) {
  if (name_ == "cpu" || world.size() == 1) return world;
  if (!nccl_) nccl_ = dist::make_nccl(world, kernels::table_for(device()).native_stream(), kernels::cuda_wait_seconds);
  return *nccl_;
}

std::string DeviceChoice::description() const {
  if (name_ == "cpu") return name_;
  const auto names = kernels::cuda_device_names();
  return index_ < static_cast<int>(names.size()) ? names[static_cast<std::size_t>(index_)] : name_;
}

}  // namespace spn::cli
