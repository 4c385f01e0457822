// Names for Nsight: every entry of the CUDA table is an NVTX range around what it queues.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spn::kernels::cuda {

// Opens and closes a range, and says that the host may stand in a launch (runtime.cpp; nothing in the emulator).
class Range {
 public:
  explicit Range(const char* name);
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  [[maybe_unused]] std::int64_t outer_ = 0;  // the wait around it (runtime.cpp; the emulator has none)
};

// "layer_norm_fwd" of entry<&cuda::layer_norm_fwd>'s __PRETTY_FUNCTION__.
inline std::string entry_of(std::string_view pretty) {
  const std::size_t end = pretty.find_first_of("];,", pretty.rfind("cuda::"));
  const std::size_t begin = pretty.rfind("::", end) + 2;
  return std::string(pretty.substr(begin, end - begin));
}

// f with a range of its name around it.
template <auto f>
struct Named;
template <class A, void (*f)(const A&)>
struct Named<f> {
  static void entry(const A& args) {
    static const std::string name = entry_of(__PRETTY_FUNCTION__);
    const Range range(name.c_str());
    f(args);
  }
};

}  // namespace spn::kernels::cuda
