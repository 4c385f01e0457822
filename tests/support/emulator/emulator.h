// Runs a kernel's grid on the host. Threads of a block are fibers; at a barrier or a warp exchange a thread waits until
// all that must take part have come. What a GPU would leave to chance is an error here, or made visible:
//   - a barrier that some threads of the block never reach, an exchange with a lane that has left or is not named,
//     limits of a launch that a device would refuse: failures that say which kernel and thread;
//   - threads run forwards, backwards or shuffled between barriers (Order), in the first two a warp as far ahead of the
//     others as barriers let it: a missing barrier changes the result;
//   - shared and freshly allocated device memory holds NaNs, and each allocation ends at a page that nobody may touch;
//   - an upload arrives as late as it may (await_uploads), and one that might arrive too early fails: into memory that
//     work queued before may use, or that is fresh and may have been another's, without uploads_follow or a wait of
//     the host since; memory that is given back before its upload has been awaited ends the test.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace spn::emulator {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3() = default;
  constexpr explicit(false) Dim3(unsigned a, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

enum class Order { forward, backward, shuffled };
// The order of blocks, and of threads between barriers, from now on.
void set_order(Order order);
Order order();
// Kernels launched since the start, to see that a test has run any.
std::int64_t launches();
// Likewise copies into shared memory beside arithmetic, to see that a kernel with them has run.
std::int64_t copies_begun();
void count_copies(std::int64_t more);
// How often since the start the host waited for the device where a GPU makes it wait: copies with a side in host
// memory, sync, collect, the beginning of a capture.
std::int64_t host_waits();
// While a step is captured, a tensor of more bytes than this finds no memory.
void limit_captures(std::size_t bytes);
// Captured steps that can be replayed.
int graphs();
// Shared memory of a block; a test may take some away.
std::size_t shared_limit();
void set_shared_limit(std::size_t bytes);

// Inside a kernel.
const Dim3& thread_index();
const Dim3& block_index();
const Dim3& block_shape();
const Dim3& grid_shape();
int lane();
void* shared(const char* file, int line, std::size_t bytes);
void* dynamic_shared();
void block_barrier();
// Every lane of mask brings up to 8 bytes; returns what each brought.
using Slots = std::array<std::array<std::byte, 8>, 32>;
const Slots& exchange(unsigned mask, const void* value, std::size_t bytes);
template <class T>
T from_lane(const Slots& slots, int l) {
  T v;
  __builtin_memcpy(&v, slots[static_cast<std::size_t>(l)].data(), sizeof v);
  return v;
}

// Copies of a thread beside its work (cp.async). A device makes them at any moment until they are awaited: here when
// they are (Order::forward), when they are begun (backward), or now the one, now the other. from null: zeros. A group
// is what was begun since the last commit; await leaves the newest `but` groups under way.
void begin_copy(void* to, const void* from, std::size_t bytes);
void commit_copies();
void await_copies(std::size_t but);

// A kernel's arguments, as they lie in memory.
struct Argument {
  const void* at;
  std::size_t bytes;
};
// Runs a grid of the kernel at this address from its PTX, if there is any (from_ptx.cpp): what nvcc made of the same
// source. Whether there was.
bool run_from_ptx(const void* kernel, const Dim3& grid, const Dim3& block, std::size_t shared_bytes,
                  std::span<const Argument> arguments);
// Files and folders of .ptx, apart by ':'; none: every kernel runs as the host's compiler made it. At first it is what
// SPN_PTX says.
void use_ptx(std::string_view paths);
bool has_ptx();
// Of launches(), those that ran from PTX; products of matrix fragments in them.
std::int64_t launches_from_ptx();
std::int64_t products_from_ptx();

// body: one thread of the kernel.
void run_grid(const Dim3& grid, const Dim3& block, std::size_t shared_bytes, const std::function<void()>& body);

// Counts a launch, and refuses one that a device would.
void check_launch(const Dim3& grid, const Dim3& block, std::size_t shared_bytes);

// What the device is asked to do comes here: it is done at once, or kept while a step is captured.
void queue(std::function<void()> work);
// Said by what is done on the device: it may read or write any block of memory that an address among these bytes (a
// kernel's arguments) lies in. An upload into such a block has to wait for it (uploads_follow).
void touch(const void* arguments, std::size_t bytes);
// The device's memory around an address, if it has any there.
std::optional<std::span<const std::byte>> memory_around(const void* p);
using Recorded = std::vector<std::function<void()>>;
void begin_recording();
Recorded end_recording();
bool recording();

}  // namespace spn::emulator
