// The emulated device: memory with guard pages, a few multiprocessors, and a launch that runs the kernel at once.
#include "kernels/cuda/context.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "engine/core/out_of_memory.h"
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
std::size_t g_capture_limit = std::numeric_limits<std::size_t>::max();

// What happens on the device, numbered as it is queued; up to which number uploads wait for it, or the host has.
std::int64_t g_done = 0, g_awaited = 0, g_host_waits = 0;
void host_waits_up_to(std::int64_t number) {
  ++g_host_waits;
  g_awaited = std::max(g_awaited, number);
}

struct Block {
  std::unique_ptr<emulator::Guarded> memory;
  std::int64_t used = 0;  // the number of what used it last
};
struct Memory {
  std::map<const std::byte*, Block> blocks;  // by where they begin
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

bool inside(const emulator::Guarded& g, const void* p) {
  const auto* begin = static_cast<const std::byte*>(g.data());
  return p >= begin && p <= begin + g.size();
}
Block* block_of(const void* p) {
  auto& blocks = device().blocks;
  const auto after = blocks.upper_bound(static_cast<const std::byte*>(p));
  if (after == blocks.begin()) return nullptr;
  Block& before = std::prev(after)->second;
  return inside(*before.memory, p) ? &before : nullptr;
}
// Whether p lies in memory of the device.
bool device_holds(const void* p) {
  const auto holds = [p](const auto& g) { return inside(*g, p); };
  return block_of(p) != nullptr || std::any_of(device().kept.begin(), device().kept.end(), holds);
}

// Uploads arrive as late as they may, at await_uploads: kernels that do not wait for them read what was there before.
struct Upload {
  void* to;
  std::vector<std::byte> bytes;
};
std::vector<Upload>& uploads() {
  static auto* all = new std::vector<Upload>;
  return *all;
}
struct Download {
  std::vector<std::byte> bytes;  // as they were when it was queued
  std::int64_t number;
};
}  // namespace

Range::Range(const char*) {}
Range::~Range() = default;

Stream stream() { return nullptr; }
int multiprocessors() { return 3; }  // few, so that grids stride
std::size_t shared_most() { return emulator::shared_limit(); }

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
  if (emulator::recording() && bytes > g_capture_limit) throw OutOfMemory("memory", "no room while a step is captured");
  auto block = std::make_unique<emulator::Guarded>(bytes);
  void* p = block->data();
  // a pool gives again what kernels that are queued may still use
  device().blocks.emplace(static_cast<const std::byte*>(p), Block{std::move(block), ++g_done});
  device().stats.in_use += bytes;
  device().stats.peak = std::max(device().stats.peak, device().stats.in_use);
  return p;
}
void release(void* p, std::size_t bytes) noexcept {
  const auto it = device().blocks.find(static_cast<const std::byte*>(p));
  if (it == device().blocks.end() || it->second.memory->size() != bytes || !it->second.memory->edges_intact()) {
    std::fputs("emulator: memory was written outside an allocation, or released with another size\n", stderr);
    std::abort();
  }
  if (std::any_of(uploads().begin(), uploads().end(),
                  [&](const Upload& u) { return inside(*it->second.memory, u.to); })) {
    std::fputs("emulator: memory was given back before its upload was awaited\n", stderr);
    std::abort();
  }
  device().stats.in_use -= bytes;
  if (emulator::recording() || g_graphs > 0) device().kept.push_back(std::move(it->second.memory));
  device().blocks.erase(it);
}
void transfer(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  // a host buffer will be gone, or hold something else, when the step is replayed
  const bool inside = device_holds(to) && device_holds(from);
  check(inside || !emulator::recording(), "transfer", "a captured step copies to or from host memory");
  emulator::queue([=] {
    emulator::touch(&to, sizeof to);
    emulator::touch(&from, sizeof from);
    std::memcpy(to, from, bytes);
  });
  if (!inside) host_waits_up_to(g_done);
}
void sync() {
  check(!emulator::recording(), "sync", "a captured step waits for the device");
  host_waits_up_to(g_done);
}
void upload(void* to, const void* from, std::size_t bytes) {
  check(!emulator::recording(), "upload", "a captured step reads host memory");
  const Block* block = block_of(to);
  check(block != nullptr, "upload", "expected memory of the device");
  check(block->used <= g_awaited, "upload",
        "into memory that work queued before may still use, or that may have been another's a moment ago; "
        "uploads_follow or a wait has to come between");
  const auto* p = static_cast<const std::byte*>(from);
  if (bytes != 0) uploads().push_back({to, {p, p + bytes}});
}
void await_uploads() {
  check(!emulator::recording(), "upload", "a captured step waits for uploads");
  for (const Upload& u : uploads()) std::memcpy(u.to, u.bytes.data(), u.bytes.size());
  uploads().clear();
}
void uploads_follow() {
  check(!emulator::recording(), "upload", "a captured step holds uploads back");
  g_awaited = g_done;
}
void* download(const void* from, std::size_t bytes) {
  check(!emulator::recording(), "download", "a captured step writes host memory");
  const auto* p = static_cast<const std::byte*>(from);
  return new Download{{p, p + bytes}, g_done};
}
void collect(void* download, void* to) {
  const std::unique_ptr<Download> came(static_cast<Download*>(download));
  host_waits_up_to(came->number);
  if (to != nullptr) std::memcpy(to, came->bytes.data(), came->bytes.size());
}
void* native_stream() { return nullptr; }
bool tf32_allowed() { return false; }
bool capturing() { return emulator::recording(); }

void capture_begin() {
  host_waits_up_to(g_done);
  emulator::begin_recording();
}
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

namespace spn::emulator {
void limit_captures(std::size_t bytes) { kernels::cuda::g_capture_limit = bytes; }
int graphs() { return kernels::cuda::g_graphs; }
std::int64_t host_waits() { return kernels::cuda::g_host_waits; }
std::optional<std::span<const std::byte>> memory_around(const void* p) {
  const auto bytes = [](const Guarded& g) { return std::span(static_cast<const std::byte*>(g.data()), g.size()); };
  if (const auto* block = kernels::cuda::block_of(p); block != nullptr) return bytes(*block->memory);
  for (const auto& kept : kernels::cuda::device().kept)
    if (kernels::cuda::inside(*kept, p)) return bytes(*kept);
  return std::nullopt;
}
void touch(const void* arguments, std::size_t bytes) {
  ++kernels::cuda::g_done;
  for (std::size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    const void* p = nullptr;
    std::memcpy(&p, static_cast<const std::byte*>(arguments) + at, sizeof p);
    if (auto* block = kernels::cuda::block_of(p); block != nullptr) block->used = kernels::cuda::g_done;
  }
}
}  // namespace spn::emulator

namespace spn::kernels {
int cuda_device_count() { return 1; }
std::string why_no_cuda_device() { return ""; }
void open_cuda_device(int) {}
std::vector<std::string> cuda_device_names() { return {"emulated on the host"}; }
std::string cuda_versions() { return "CUDA emulated on the host"; }
void allow_tf32(bool) {}
double cuda_wait_seconds() { return 0; }  // what is queued is done at once
std::int64_t cuda_free_bytes() { return std::int64_t{1} << 30; }
double cuda_seconds(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}
void* cuda_moment() { return new Stopwatch; }
double cuda_seconds_between(void* from, void* to) {
  const std::unique_ptr<Stopwatch> start(static_cast<Stopwatch*>(from)), end(static_cast<Stopwatch*>(to));
  return start->seconds() - end->seconds();
}
}  // namespace spn::kernels
