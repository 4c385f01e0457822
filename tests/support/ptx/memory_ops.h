// Loads, stores, addresses, and copies beside the work (PTX ISA: ld, st, cvta, cp.async). Every access is checked:
// within its memory, aligned to its size, ordered with those of other threads.
#pragma once

#include "tests/support/ptx/thread.h"

namespace spn::ptx {

enum class Space { global, shared, local, parameters, generic };

// The bytes that a thread's instruction is about to read or write.
std::byte* shared_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write);
std::byte* global_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write);
std::byte* local_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes);
std::byte* parameter_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes);
std::byte* generic_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write);
[[noreturn]] void fail_misaligned(const Thread& t, const Instruction& i, u64 at, std::size_t bytes);

inline u64 address_of(const Thread& t, const Instruction& i) {
  return (i.base == kNoRegister ? 0 : t.registers[i.base]) + static_cast<u64>(i.offset);
}

template <Space space>
std::byte* place(Thread& t, const Instruction& i, std::size_t bytes, bool write) {
  const u64 at = address_of(t, i);
  if (at % bytes != 0) [[unlikely]]
    fail_misaligned(t, i, at, bytes);
  if constexpr (space == Space::shared) return shared_place(t, i, at, bytes, write);
  if constexpr (space == Space::global) return global_place(t, i, at, bytes, write);
  if constexpr (space == Space::local) return local_place(t, i, at, bytes);
  if constexpr (space == Space::parameters) return parameter_place(t, i, at, bytes);
  return generic_place(t, i, at, bytes, write);
}

// A register may be wider than the type: integers with a sign are extended into it.
template <Space space, class T, int n>
void load(Thread& t, const Instruction& i) {
  std::array<T, n> v;
  std::memcpy(v.data(), place<space>(t, i, sizeof v, false), sizeof v);
  for (std::size_t k = 0; k < n; ++k) {
    if (i.to[k] == kNoRegister) continue;
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>)
      t.registers[i.to[k]] = static_cast<u64>(static_cast<s64>(v[k]));
    else
      t.registers[i.to[k]] = to_bits(v[k]);
  }
}
template <Space space, class T, int n>
void store(Thread& t, const Instruction& i) {
  std::array<T, n> v;
  for (std::size_t k = 0; k < n; ++k) v[k] = value<T>(t, i.from[k]);
  std::memcpy(place<space>(t, i, sizeof v, true), v.data(), sizeof v);
}

// Between addresses of one space and generic ones: those of shared and local memory are where the host has them.
template <Space space, bool to_space>
void convert_address(Thread& t, const Instruction& i) {
  u64 begin = 0;
  if constexpr (space == Space::shared) begin = reinterpret_cast<u64>(t.block->shared.data());
  if constexpr (space == Space::local) begin = reinterpret_cast<u64>(t.local.data());
  if constexpr (space == Space::parameters) begin = reinterpret_cast<u64>(t.block->grid.parameters.data());
  put<u64>(t, i, to_space ? t.registers[i.from[0]] - begin : t.registers[i.from[0]] + begin);
}

// from: the source, the bytes that are read of it.
void begin_copy(Thread& t, const Instruction& i);
void commit_copies(Thread& t, const Instruction& i);
// All but the newest i.offset groups.
void await_copies(Thread& t, const Instruction& i);
void await_all_copies(Thread& t, const Instruction& i);

}  // namespace spn::ptx
