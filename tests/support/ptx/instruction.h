// One PTX instruction, decoded: which function carries it out, on which registers. Every value lies in 64 bits, the
// narrower ones in the low end; constants are registers that nothing writes.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace spn::ptx {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

struct Thread;
struct Instruction;
using Operation = void (*)(Thread&, const Instruction&);
using Lanes = std::span<Thread*, 32>;  // null: no such thread
using WarpOperation = void (*)(Lanes, const Instruction&, u32 mask);

enum class Step : u8 { next, branch, leave, block_barrier, warp };

inline constexpr int kNoRegister = -1;

struct Instruction {
  Step step = Step::next;
  bool guard_negated = false;
  int guard = kNoRegister;  // the predicate that decides whether it runs
  Operation run = nullptr;
  int target = -1;  // of a branch
  std::array<int, 4> to{kNoRegister, kNoRegister, kNoRegister, kNoRegister};
  std::array<int, 4> from{kNoRegister, kNoRegister, kNoRegister, kNoRegister};
  int base = kNoRegister;  // of an address
  s64 offset = 0;
  int count = 1;  // of values in a vector, tiles, parts
  int bits = 0;   // of a part of a packed value; bytes of a copy
  WarpOperation warp = nullptr;
  int mask = kNoRegister;    // lanes that take part
  bool negated = false;      // the predicate of a vote
  std::vector<int> factors;  // of mma: A 4, B 2, C 4
  int number = 0;            // its place in the kernel
  std::string text;
};

template <class T>
T from_bits(u64 v) {
  T t;
  std::memcpy(&t, &v, sizeof t);
  return t;
}
template <class T>
u64 to_bits(T t) {
  u64 v = 0;
  std::memcpy(&v, &t, sizeof t);
  return v;
}

}  // namespace spn::ptx
