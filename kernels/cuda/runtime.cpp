// The device of this process: opened once, one compute stream, memory in stream order, scratch, captured steps.
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "engine/core/bytes.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/memory_pools.h"
#include "kernels/cuda/range.h"
#include "kernels/cuda/status.h"
#include "kernels/devices.h"
#include "kernels/gpu_fit.h"

namespace spn::kernels {
namespace cuda {
namespace {

constexpr int kOldestMajor = 8;  // A100: bf16 tensor cores

struct Graph {
  cudaGraphExec_t exec = nullptr;
  int pool = 0;
};

// Page-locked memory that a copy to the host arrives in.
struct Download {
  void* p = nullptr;
  std::size_t bytes = 0, room = 0;
  cudaEvent_t arrived = nullptr;
  bool free = true;
};

// Says to whoever watches (cuda_wait_seconds) that the host is in a call that may wait for the device: one that waits,
// one that gives memory back, and every launch, as the device's queue may be full. The outermost counts.
std::atomic<std::int64_t> g_waits_since{0};  // nanoseconds of the steady clock; 0: in none
std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
class Waits {
 public:
  Waits() : outer_(g_waits_since) {
    if (outer_ == 0) g_waits_since = now();
  }
  ~Waits() { g_waits_since = outer_; }
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

 private:
  std::int64_t outer_;
};

// SPN_MEMORY=plain (memory_pools.h), for compute-sanitizer.
bool plain_memory() {
  const char* text = std::getenv("SPN_MEMORY");
  if (text == nullptr || std::string_view(text) == "pooled") return false;
  if (std::string_view(text) != "plain") fail_usage("cuda", "SPN_MEMORY: expected pooled or plain, got '{}'", text);
  return true;
}

struct Gpu {
  explicit Gpu(int which) : index(which) {
    if (const std::string why = why_no_cuda_device(); !why.empty()) fail_usage("cuda", "{}", why);
    const int count = cuda_device_count();
    if (which < 0 || which >= count)
      fail_usage("cuda", "there is no GPU {}: this process sees {} (CUDA_VISIBLE_DEVICES, the scheduler's --gpus)",
                 which, count);
    expect(cudaSetDevice(which), "cuda");
    expect(cudaGetDeviceProperties(&properties, which), "cuda");
    if (properties.major < kOldestMajor)
      fail_usage("cuda", "{} has compute capability {}.{}; this program needs {}.0 or newer", properties.name,
                 properties.major, properties.minor, kOldestMajor);
    if (!has_code_for(SPN_CUDA_ARCHITECTURES, properties.major, properties.minor))
      fail_usage("cuda",
                 "{} has compute capability {}.{}, and this build has code for {}; build with "
                 "-DCMAKE_CUDA_ARCHITECTURES={}{}",
                 properties.name, properties.major, properties.minor, SPN_CUDA_ARCHITECTURES, properties.major,
                 properties.minor);
    expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cuda");
    expect(cudaStreamCreateWithFlags(&uploads, cudaStreamNonBlocking), "cuda");
    for (cudaEvent_t* e : {&uploaded[0], &uploaded[1], &read})
      expect(cudaEventCreateWithFlags(e, cudaEventDisableTiming), "cuda");
  }

  int index;
  cudaDeviceProp properties{};
  cudaStream_t stream = nullptr;
  Pools pools{{.take = [](std::size_t bytes) -> void* {
                 // a captured step may take memory: the allocation itself is not part of it
                 const Waits waits;
                 cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
                 expect(cudaThreadExchangeStreamCaptureMode(&mode), "memory");
                 void* p = nullptr;
                 const cudaError_t status = cudaMalloc(&p, bytes);
                 expect(cudaThreadExchangeStreamCaptureMode(&mode), "memory");
                 if (status == cudaErrorMemoryAllocation) {
                   cudaGetLastError();  // it is handled: the caller drops what is cached, or says what holds memory
                   return nullptr;
                 }
                 expect(status, "memory");
                 return p;
               },
               .give =
                   [](void* p) {
                     const Waits waits;  // for the device, before memory goes
                     expect(cudaFree(p), "memory");
                   },
               .others = [this] { return others(); }},
              plain_memory()};
  struct Held {
    void* p = nullptr;
    std::size_t bytes = 0;
  };
  std::array<Held, static_cast<std::size_t>(Scratch::count)> scratch;
  cudaStream_t uploads = nullptr;
  cudaEvent_t read = nullptr;  // uploads_follow: what uploads wait for
  // Page-locked memory that uploads leave from, in two halves that take turns at each await_uploads: a half is filled
  // again when the step after next is prepared, and by then its copies (`uploaded`) have long been made.
  std::array<std::vector<Held>, 2> pinned;
  std::array<cudaEvent_t, 2> uploaded{};
  std::size_t half = 0, next_pinned = 0;
  std::vector<std::unique_ptr<Download>> downloads;  // under way, and those that are free again
  std::vector<void*> retired;                        // scratch that graphs still write
  int graphs = 0;
  bool capturing = false;

  std::string others() const {
    std::size_t kernels = 0;
    for (const Held& held : scratch) kernels += held.bytes;
    return fmt::format(
        "of these {} are working memory of kernels; {}, what else is taken is CUDA's, its libraries' and "
        "other processes'",
        mebibytes(kernels), device_memory());
  }
};

// One a process, opened by open_cuda_device or at first use (then device 0). It lives until the process ends: tensors
// of static duration may go after any destructor here, and the driver takes everything back.
Gpu* g_gpu = nullptr;
bool g_tf32 = false;

Gpu& gpu() {
  if (g_gpu == nullptr) g_gpu = new Gpu(0);
  return *g_gpu;
}

}  // namespace

Range::Range(const char* name) : outer_(g_waits_since) {
  nvtxRangePushA(name);
  if (outer_ == 0) g_waits_since = now();
}
Range::~Range() {
  nvtxRangePop();
  g_waits_since = outer_;
}

Stream stream() { return gpu().stream; }
void* native_stream() { return gpu().stream; }
int multiprocessors() { return gpu().properties.multiProcessorCount; }
std::size_t shared_most() { return gpu().properties.sharedMemPerBlockOptin; }
bool tf32_allowed() { return g_tf32; }
bool capturing() { return g_gpu != nullptr && g_gpu->capturing; }

void* scratch(Scratch user, std::size_t bytes) {
  Gpu& g = gpu();
  auto& held = g.scratch[static_cast<std::size_t>(user)];
  if (g.pools.plain() ? bytes == held.bytes : bytes <= held.bytes) return held.p;
  check(!g.capturing, "scratch", "a captured step needs {} bytes of scratch and has {}; run a plain step first", bytes,
        held.bytes);
  if (held.p != nullptr) {
    if (g.graphs > 0)
      g.retired.push_back(held.p);
    else
      g.pools.give(held.p);
  }
  held.p = g.pools.take(bytes);
  held.bytes = bytes;
  return held.p;
}

void sync() {
  const Waits waits;
  expect(cudaStreamSynchronize(gpu().stream), "sync");
}

void* alloc(std::size_t bytes) { return gpu().pools.take(bytes); }
void release(void* p, std::size_t) noexcept { gpu().pools.give(p); }

void transfer(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  cudaPointerAttributes a{}, b{};
  expect(cudaPointerGetAttributes(&a, to), "transfer");
  expect(cudaPointerGetAttributes(&b, from), "transfer");
  const bool inside = a.type == cudaMemoryTypeDevice && b.type == cudaMemoryTypeDevice;
  // a replay would read or write the host's side again; where a GPU reaches pageable memory, CUDA lets that pass
  check(inside || !gpu().capturing, "transfer", "a captured step copies to or from host memory");
  expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, gpu().stream), "transfer");
  if (!inside) sync();  // host memory is the caller's again when this returns
}

void upload(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  Gpu& g = gpu();
  auto& slots = g.pinned[g.half];
  if (g.next_pinned == slots.size()) slots.emplace_back();
  auto& slot = slots[g.next_pinned++];
  if (slot.bytes < bytes) {
    const Waits waits;  // for the device, before memory goes
    if (slot.p != nullptr) expect(cudaFreeHost(slot.p), "upload");
    slot = {};
    expect(cudaHostAlloc(&slot.p, bytes, cudaHostAllocDefault), "upload");
    slot.bytes = bytes;
  }
  std::memcpy(slot.p, from, bytes);
  expect(cudaMemcpyAsync(to, slot.p, bytes, cudaMemcpyHostToDevice, g.uploads), "upload");
}

void await_uploads() {
  Gpu& g = gpu();
  expect(cudaEventRecord(g.uploaded[g.half], g.uploads), "upload");
  expect(cudaStreamWaitEvent(g.stream, g.uploaded[g.half]), "upload");
  g.half = 1 - g.half;
  g.next_pinned = 0;
  // those of the step before, which kernels that run by now have waited for: no wait, unless the host is steps ahead
  const Waits waits;
  expect(cudaEventSynchronize(g.uploaded[g.half]), "upload");
}

void uploads_follow() {
  Gpu& g = gpu();
  expect(cudaEventRecord(g.read, g.stream), "upload");
  expect(cudaStreamWaitEvent(g.uploads, g.read), "upload");
}

void* download(const void* from, std::size_t bytes) {
  Gpu& g = gpu();
  const auto at =
      std::find_if(g.downloads.begin(), g.downloads.end(), [&](const auto& d) { return d->free && d->room >= bytes; });
  const bool none = at == g.downloads.end();
  if (none) {
    auto fresh = std::make_unique<Download>();
    expect(cudaEventCreateWithFlags(&fresh->arrived, cudaEventDisableTiming), "download");
    expect(cudaHostAlloc(&fresh->p, bytes, cudaHostAllocDefault), "download");
    fresh->room = bytes;
    g.downloads.push_back(std::move(fresh));
  }
  Download& d = none ? *g.downloads.back() : **at;
  d.bytes = bytes;
  expect(cudaMemcpyAsync(d.p, from, bytes, cudaMemcpyDeviceToHost, g.stream), "download");
  expect(cudaEventRecord(d.arrived, g.stream), "download");
  d.free = false;
  return &d;
}

void collect(void* download, void* to) {
  Download& d = *static_cast<Download*>(download);
  const Waits waits;
  expect(cudaEventSynchronize(d.arrived), "download");
  if (to != nullptr) std::memcpy(to, d.p, d.bytes);
  d.free = true;
}

MemoryStats memory() { return gpu().pools.stats(); }
void reset_peak() { gpu().pools.reset_peak(); }

void capture_begin() {
  Gpu& g = gpu();
  if (g.pools.plain()) fail_usage("capture", "with SPN_MEMORY=plain no step is captured; give --cuda-graph off");
  sync();
  g.pools.trim();  // the plain steps' activations: the captured step takes as much again, of its own
  g.pools.begin_pool();
  expect(cudaStreamBeginCapture(g.stream, cudaStreamCaptureModeThreadLocal), "capture");
  g.capturing = true;
}

void* capture_end() {
  Gpu& g = gpu();
  auto graph = std::make_unique<Graph>();
  g.capturing = false;
  graph->pool = g.pools.end_pool();
  cudaGraph_t recorded = nullptr;
  cudaError_t status = cudaStreamEndCapture(g.stream, &recorded);
  if (status == cudaSuccess) {
    status = cudaGraphInstantiate(&graph->exec, recorded, 0);
    cudaGraphDestroy(recorded);
  }
  if (status != cudaSuccess) g.pools.drop_pool(graph->pool);  // nobody will replay it
  expect(status, "capture");
  ++g.graphs;
  return graph.release();
}

void replay(void* graph) {
  const Waits waits;
  expect(cudaGraphLaunch(static_cast<Graph*>(graph)->exec, gpu().stream), "replay");
}

void drop_graph(void* p) noexcept {
  const std::unique_ptr<Graph> graph(static_cast<Graph*>(p));
  const Waits waits;
  Gpu& g = gpu();
  cudaStreamSynchronize(g.stream);
  cudaGraphExecDestroy(graph->exec);
  g.pools.drop_pool(graph->pool);
  if (--g.graphs > 0) return;
  for (void* old : g.retired) g.pools.give(old);
  g.retired.clear();
}

}  // namespace cuda

void open_cuda_device(int index) {
  check(cuda::g_gpu == nullptr || cuda::g_gpu->index == index, "cuda", "GPU {} is open already, and {} is asked for",
        cuda::g_gpu == nullptr ? 0 : cuda::g_gpu->index, index);
  if (cuda::g_gpu == nullptr) cuda::g_gpu = new cuda::Gpu(index);
}

std::int64_t cuda_free_bytes() {
  cuda::stream();  // opens the device
  std::size_t free = 0, total = 0;
  cuda::expect(cudaMemGetInfo(&free, &total), "memory");
  return static_cast<std::int64_t>(free);
}

double cuda_wait_seconds() {
  const std::int64_t since = cuda::g_waits_since;
  return since == 0 ? 0 : static_cast<double>(cuda::now() - since) * 1e-9;
}

void allow_tf32(bool on) { cuda::g_tf32 = on; }

}  // namespace spn::kernels
