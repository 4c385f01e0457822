// The emulated device: memory with guard pages, a few multiprocessors, and a launch that runs the kernel at once.
#include "kernels/cuda/context.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/core/stopwatch.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/range.h"
#include "kernels/devices.h"
#include "kernels/timing.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/guarded.h"

namespace spn::kernels::cuda {
namespace {

int g_graphs = 0;

struct Memory {
  std::unordered_map<void*, std::unique_ptr<emulator::Guarded>> blocks;
  // given back while a step is captured or can be replayed: a replay may write them, so they stay until no graph is
  // left
  std::vector<std::unique_ptr<emulator::Guarded>> kept;
  MemoryStats stats;
};

struct Graph {
  emulator::Recorded work;
};
Memory& device() {
  static Memory* m = new Memory;  // tensors of static duration may go after it
  return *m;
}

// Whether p lies in memory of the device.
bool device_holds(const void* p) {
  const auto inside = [p](const emulator::Guarded& g) {
    const auto* begin = static_cast<const std::byte*>(g.data());
    return p >= begin && p <= begin + g.size();
  };
  for (const auto& [start, block] : device().blocks)
    if (inside(*block)) return true;
  for (const auto& block : device().kept)
    if (inside(*block)) return true;
  return false;
}
}  // namespace

Range::Range(const char*) {}
Range::~Range() = default;

Stream stream() { return nullptr; }
int multiprocessors() { return 3; }  // few, so that grids stride

void* scratch(Scratch user, std::size_t bytes) {
  struct Held {
    std::unique_ptr<emulator::Guarded> now;    // as large as was asked for, so that it ends at its page
    std::unique_ptr<emulator::Guarded> fixed;  // of captured steps: as large as plain steps ever needed
    std::size_t largest = 0;
  };
  static std::array<Held, static_cast<std::size_t>(Scratch::count)> all;
  Held& held = all[static_cast<std::size_t>(user)];
  for (const auto* memory : {&held.now, &held.fixed})
    check(!*memory || (*memory)->edges_intact(), "emulator", "a kernel wrote outside its scratch memory");
  if (emulator::recording()) {
    check(bytes <= held.largest, "scratch",
          "a captured step needs {} bytes of scratch and has {}; run a plain step first", bytes, held.largest);
    if (!held.fixed || (held.fixed->size() < held.largest && g_graphs == 0))
      held.fixed = std::make_unique<emulator::Guarded>(held.largest);
    check(bytes <= held.fixed->size(), "scratch", "a second graph needs more scratch than the first");
    return held.fixed->data();
  }
  held.largest = std::max(held.largest, bytes);
  held.now = std::make_unique<emulator::Guarded>(bytes);
  return held.now->data();
}

void* alloc(std::size_t bytes) {
  auto block = std::make_unique<emulator::Guarded>(bytes);
  void* p = block->data();
  device().blocks.emplace(p, std::move(block));
  device().stats.in_use += bytes;
  device().stats.peak = std::max(device().stats.peak, device().stats.in_use);
  return p;
}
void release(void* p, std::size_t bytes) noexcept {
  const auto it = device().blocks.find(p);
  if (it == device().blocks.end() || it->second->size() != bytes || !it->second->edges_intact()) {
    std::fputs("emulator: memory was written outside an allocation, or released with another size\n", stderr);
    std::abort();
  }
  device().stats.in_use -= bytes;
  if (emulator::recording() || g_graphs > 0) device().kept.push_back(std::move(it->second));
  device().blocks.erase(it);
}
void transfer(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  // a host buffer will be gone, or hold something else, when the step is replayed
  const bool inside = device_holds(to) && device_holds(from);
  check(inside || !emulator::recording(), "transfer", "a captured step copies to or from host memory");
  emulator::queue([=] { std::memcpy(to, from, bytes); });
}
void sync() { check(!emulator::recording(), "sync", "a captured step waits for the device"); }
namespace {
// Uploads arrive as late as they may, at await_uploads: kernels that do not wait for them read what was there before.
struct Upload {
  void* to;
  std::vector<std::byte> bytes;
};
std::vector<Upload>& uploads() {
  static auto* all = new std::vector<Upload>;
  return *all;
}
}  // namespace
void upload(void* to, const void* from, std::size_t bytes) {
  check(!emulator::recording(), "upload", "a captured step reads host memory");
  const auto* p = static_cast<const std::byte*>(from);
  if (bytes != 0) uploads().push_back({to, {p, p + bytes}});
}
void await_uploads() {
  check(!emulator::recording(), "upload", "a captured step waits for uploads");
  for (const Upload& u : uploads())
    if (device_holds(u.to)) std::memcpy(u.to, u.bytes.data(), u.bytes.size());  // or it was released meanwhile
  uploads().clear();
}
void uploads_follow() { check(!emulator::recording(), "upload", "a captured step holds uploads back"); }
void* download(const void* from, std::size_t bytes) {
  check(!emulator::recording(), "download", "a captured step writes host memory");
  const auto* p = static_cast<const std::byte*>(from);
  return new std::vector<std::byte>(p, p + bytes);
}
void collect(void* download, void* to) {
  const std::unique_ptr<std::vector<std::byte>> came(static_cast<std::vector<std::byte>*>(download));
  if (to != nullptr) std::memcpy(to, came->data(), came->size());
}
void* native_stream() { return nullptr; }
bool tf32_allowed() { return false; }
bool capturing() { return emulator::recording(); }

void capture_begin() { emulator::begin_recording(); }
void* capture_end() {
  auto graph = std::make_unique<Graph>();
  graph->work = emulator::end_recording();
  ++g_graphs;
  return graph.release();
}
void replay(void* graph) {
  for (const auto& work : static_cast<Graph*>(graph)->work) work();
}
void drop_graph(void* graph) noexcept {
  delete static_cast<Graph*>(graph);
  if (--g_graphs == 0) device().kept.clear();
}
MemoryStats memory() { return device().stats; }
void reset_peak() { device().stats.peak = device().stats.in_use; }

}  // namespace spn::kernels::cuda

namespace spn::kernels {
int cuda_device_count() { return 1; }
std::string why_no_cuda_device() { return ""; }
void open_cuda_device(int) {}
std::vector<std::string> cuda_device_names() { return {"emulated on the host"}; }
std::string cuda_versions() { return "CUDA emulated on the host"; }
void allow_tf32(bool) {}
std::int64_t cuda_free_bytes() { return std::int64_t{1} << 30; }
double cuda_seconds(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}
}  // namespace spn::kernels
