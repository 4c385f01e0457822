#include "kernels/cuda/lib/tune.h"

#include <cuda_runtime.h>

#include <cstdlib>
#include <string_view>

#include "kernels/cuda/context.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {
namespace {

constexpr int kTimes = 4;  // the first of which warms up

struct Event {
  Event() { expect(cudaEventCreate(&e), "tune"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(e); }
  cudaEvent_t e = nullptr;
};

}  // namespace

bool may_tune() {
  static const bool wanted = [] {
    const char* v = std::getenv("SPN_TUNE");
    return v != nullptr && std::string_view(v) == "1";
  }();
  return wanted && !capturing();
}

double seconds_of(bool (*call)(const void* what), const void* what) {
  const Event start, end;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTimes; ++i) {
    expect(cudaEventRecord(start.e, stream()), "tune");
    if (!call(what)) return std::numeric_limits<double>::infinity();
    expect(cudaEventRecord(end.e, stream()), "tune");
    expect(cudaEventSynchronize(end.e), "tune");
    float ms = 0;
    expect(cudaEventElapsedTime(&ms, start.e, end.e), "tune");
    if (i > 0) least = std::min(least, static_cast<double>(ms) * 1e-3);
  }
  return least;
}

}  // namespace spn::kernels::cuda
