// Runs a kernel's grid from its PTX: one block at a time, one thread until it must wait for others. What a GPU would
// leave to chance or call undefined is an error that names the instruction: accesses outside memory or misaligned, two
// that no barrier orders (races.h), a shuffle from a lane that takes no part, a barrier that some never reach, copies
// that nobody awaits. Shared memory, local memory and registers begin as NaNs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "tests/support/ptx/program.h"

namespace spn::ptx {

struct Size {
  unsigned x = 1, y = 1, z = 1;
};

// Addresses from begin up to end.
struct Memory {
  std::uint64_t begin = 0, end = 0;
  bool holds(std::uint64_t at, std::size_t bytes) const { return at >= begin && at + bytes <= end; }
};

struct Options {
  bool backward = false;        // blocks, warps and lanes from the last
  bool copies_at_once = false;  // when they are begun; else when they are awaited
  bool shared_races = true, global_races = false;
  std::size_t shared_limit = std::size_t{227} * 1024;
  // The memory around an address; none: nobody knows, and the access is made.
  std::function<std::optional<Memory>(std::uint64_t)> memory_of;
};

struct Counts {
  std::int64_t instructions = 0, copies = 0, products = 0;
};

// parameters: as the kernel's list has them, packed and padded.
Counts run(const Kernel& kernel, Size grid, Size block, std::size_t dynamic_shared,
           std::span<const std::byte> parameters, const Options& options);

// Packs arguments by the kernel's list; their number and sizes must be the list's.
struct Argument {
  const void* at;
  std::size_t bytes;
};
std::vector<std::byte> pack(const Kernel& kernel, std::span<const Argument> arguments);

}  // namespace spn::ptx
