#include "kernels/gpu_fit.h"

#include <fmt/format.h>

#include <charconv>

namespace spn::kernels {
namespace {

std::string version(int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); }

}  // namespace

std::string why_no_gpu(const GpuState& s) {
  if (s.driver == 0)
    return fmt::format(
        "there is no NVIDIA driver; this build needs one for CUDA {} or newer. In a container: start it with the GPUs "
        "(docker --gpus all, apptainer --nv); otherwise look at nvidia-smi, or use --device cpu",
        version(s.runtime));
  if (s.driver / 1000 < s.runtime / 1000)  // releases of one generation run on its first driver
    return fmt::format(
        "the NVIDIA driver is too old: it is for CUDA {}, this build for CUDA {}; update the driver to one for CUDA "
        "{}.0 or newer (nvidia-smi shows it), load the cluster's cuda-compat libraries, or build with a CUDA {} "
        "toolkit",
        version(s.driver), version(s.runtime), s.runtime / 1000, s.driver / 1000);
  if (!s.error.empty())
    return fmt::format("the driver (CUDA {}) refuses: {}; look at nvidia-smi and dmesg", version(s.driver), s.error);
  if (s.devices == 0)
    return fmt::format(
        "the driver (CUDA {}) shows this process no GPU: CUDA_VISIBLE_DEVICES is {}; ask the scheduler for one "
        "(--gpus), or use --device cpu",
        version(s.driver), s.visible);
  return "";
}

bool has_code_for(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const std::size_t end = architectures.find_first_of(";, ");
    std::string_view one = architectures.substr(0, end);
    architectures = end == std::string_view::npos ? "" : architectures.substr(end + 1);
    int number = 0;
    const auto [rest, error] = std::from_chars(one.data(), one.data() + one.size(), number);
    if (error != std::errc()) {
      if (one == "native" || one.starts_with("all")) return true;  // the toolkit chose: nothing is known here
      continue;
    }
    one.remove_prefix(static_cast<std::size_t>(rest - one.data()));
    const int its_major = number / 10, its_minor = number % 10;
    const bool exact = major == its_major && minor == its_minor;
    if (exact) return true;
    if (one.starts_with("a")) continue;
    const bool binary = !one.ends_with("-virtual"), translated = !one.ends_with("-real");
    if (binary && major == its_major && minor > its_minor) return true;
    if (one.starts_with("f")) continue;  // of its family: what the line above says
    if (translated && major * 10 + minor > number) return true;
  }
  return false;
}

}  // namespace spn::kernels
