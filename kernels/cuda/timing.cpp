// kernels/timing.h on a GPU.
#include "kernels/timing.h"

#include <cuda_runtime.h>

#include <memory>

#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/timing.h"

namespace spn::kernels {
namespace {

struct Event {
  Event() { cuda::expect(cudaEventCreate(&e), "timing"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(e); }
  cudaEvent_t e = nullptr;
};

// Twice the L2 cache in zeros, read before each measurement.
struct Flush {
  Flush() {
    cuda::stream();  // opens the device
    int device = 0, l2 = 0;
    cuda::expect(cudaGetDevice(&device), "timing");
    cuda::expect(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device), "timing");
    bytes = 2 * static_cast<std::size_t>(l2) + 16;  // the last word is `found`
    p = static_cast<unsigned char*>(cuda::alloc(bytes));
    cuda::expect(cudaMemsetAsync(p, 0, bytes, cuda::stream()), "timing");
  }
  Flush(const Flush&) = delete;
  Flush& operator=(const Flush&) = delete;
  ~Flush() { cuda::release(p, bytes); }
  // Twice: what the memset left to be written goes with the first.
  void run() const {
    for (int i = 0; i < 2; ++i) cuda::read_whole(p, bytes - 16, reinterpret_cast<unsigned*>(p + bytes - 16));
  }
  std::size_t bytes = 0;
  unsigned char* p = nullptr;
};

// Longer than the host takes to queue what is timed: 318 parameters of an AdamW update are 0.3 ms of tables.
constexpr double kQueueing = 2e-3;

}  // namespace

double cuda_seconds(const std::function<void()>& work) {
  const Flush flush;
  const Event start, end;
  flush.run();
  cuda::keep_busy(kQueueing);
  cuda::expect(cudaEventRecord(start.e, cuda::stream()), "timing");
  work();
  cuda::expect(cudaEventRecord(end.e, cuda::stream()), "timing");
  cuda::expect(cudaEventSynchronize(end.e), "timing");
  float ms = 0;
  cuda::expect(cudaEventElapsedTime(&ms, start.e, end.e), "timing");
  return static_cast<double>(ms) * 1e-3;
}

void* cuda_moment() {
  auto event = std::make_unique<Event>();
  cuda::expect(cudaEventRecord(event->e, cuda::stream()), "timing");
  return event.release();
}

double cuda_seconds_between(void* from, void* to) {
  const std::unique_ptr<Event> start(static_cast<Event*>(from)), end(static_cast<Event*>(to));
  cuda::expect(cudaEventSynchronize(end->e), "timing");
  float ms = 0;
  cuda::expect(cudaEventElapsedTime(&ms, start->e, end->e), "timing");
  return static_cast<double>(ms) * 1e-3;
}

}  // namespace spn::kernels
