// What a running kernel is: a grid's options and counts, a block's memory, a thread's registers and where it stands.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "tests/support/ptx/instruction.h"
#include "tests/support/ptx/program.h"
#include "tests/support/ptx/races.h"
#include "tests/support/ptx/run.h"

namespace spn::ptx {

struct Grid {
  const Kernel& kernel;
  const Options& options;
  std::vector<std::byte> parameters;
  std::vector<Memory> known;  // by instruction: the memory that it touched last
  Races shared_races, global_races;
  Counts counts;
};

struct Block {
  Grid& grid;
  std::span<std::byte> shared;
  u32 number = 0, epoch = 0;  // epoch: barriers passed
  std::vector<u32> warp_barriers;
};

enum class State : u8 { ready, at_warp, at_barrier, done };

// A copy beside the work. to: a place in shared memory; what is not read becomes zeros.
struct Copy {
  u32 to, bytes, read;
  u64 from;
};

struct Thread {
  u64* registers = nullptr;
  int at = 0;
  State state = State::ready;
  bool carry = false;
  int number = 0, lane = 0;
  Block* block = nullptr;
  std::span<std::byte> local;
  u32 time = 0;                 // the last barrier of the warp that it passed
  std::array<u32, 32> known{};  // of each lane: accesses at an earlier time are over
  std::vector<Copy> begun;
  std::vector<std::vector<Copy>> underway;  // oldest first

  int warp() const { return number / 32; }
  Moment now() const { return {block->number, block->epoch, time, number, known.data()}; }
};

template <class T>
T value(const Thread& t, int index) {
  return from_bits<T>(t.registers[index]);
}
template <class T>
void put(Thread& t, const Instruction& i, T v) {
  t.registers[i.to[0]] = to_bits(v);
}

// Throws: what is wrong, the instruction, the thread, the kernel.
[[noreturn]] void fail_at(const Thread& t, const Instruction& i, const std::string& what);

}  // namespace spn::ptx
