#include "tests/support/ptx/memory_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/core/check.h"

namespace spn::ptx {
namespace {

[[noreturn]] void fail_outside(const Thread& t, const Instruction& i, u64 at, std::size_t bytes, const char* memory,
                               std::size_t size) {
  fail_at(t, i, fmt::format("expected an access inside {} bytes of {}, got {} bytes at {}", size, memory, bytes, at));
}

void order(Races& races, Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write, const char* memory) {
  const auto conflict = races.access(at, bytes, write, t.now());
  if (!conflict) return;
  const auto& c = *conflict;
  fail_at(t, i,
          fmt::format("expected a barrier before this {} {} memory at {}, got a race with {} of block {}, which {} it",
                      write ? "write to" : "read of", memory, at,
                      c.thread < 0 ? std::string("several threads") : fmt::format("thread {}", c.thread), c.block,
                      c.wrote ? "wrote" : "read"));
}

bool within(std::span<const std::byte> memory, u64 at) {
  const auto begin = reinterpret_cast<u64>(memory.data());
  return at >= begin && at < begin + memory.size();
}

std::optional<Memory> memory_of(const Grid& grid, u64 at) {
  for (const auto& [name, bytes] : *grid.kernel.globals)
    if (within(bytes, at))
      return Memory{reinterpret_cast<u64>(bytes.data()), reinterpret_cast<u64>(bytes.data() + bytes.size())};
  return grid.options.memory_of ? grid.options.memory_of(at) : std::nullopt;
}

void make(Thread& t, const Copy& c) {
  std::byte* const to = t.block->shared.data() + c.to;
  std::memset(to, 0, c.bytes);
  std::memcpy(to, reinterpret_cast<const void*>(c.from), c.read);
}

}  // namespace

void fail_at(const Thread& t, const Instruction& i, const std::string& what) {
  fail("ptx", "{}: {} (thread {} of block {} of {})", what, i.text, t.number, t.block->number,
       t.block->grid.kernel.name);
}

void fail_misaligned(const Thread& t, const Instruction& i, u64 at, std::size_t bytes) {
  fail_at(t, i, fmt::format("expected an address aligned to {} bytes, got {:#x}, misaligned", bytes, at));
}

std::byte* shared_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write) {
  Block& b = *t.block;
  const u32 place = static_cast<u32>(at);  // addresses of shared memory have 32 bits that count
  if (std::size_t{place} + bytes > b.shared.size()) [[unlikely]]
    fail_outside(t, i, place, bytes, "shared memory", b.shared.size());
  if (b.grid.options.shared_races) order(b.grid.shared_races, t, i, place, bytes, write, "shared");
  return b.shared.data() + place;
}

std::byte* global_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write) {
  Grid& grid = t.block->grid;
  Memory& known = grid.known[static_cast<std::size_t>(i.number)];
  if (!known.holds(at, bytes)) [[unlikely]] {
    if (at < 4096) fail_at(t, i, fmt::format("expected an access inside memory, got a null pointer and {} bytes", at));
    if (const auto memory = memory_of(grid, at)) {
      if (!memory->holds(at, bytes))
        fail_outside(t, i, at - memory->begin, bytes, "memory", memory->end - memory->begin);
      known = *memory;
    }
  }
  if (grid.options.global_races) order(grid.global_races, t, i, at, bytes, write, "global");
  return reinterpret_cast<std::byte*>(at);
}

std::byte* local_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes) {
  if (at + bytes > t.local.size()) [[unlikely]]
    fail_outside(t, i, at, bytes, "local memory", t.local.size());
  return t.local.data() + at;
}

std::byte* parameter_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes) {
  auto& parameters = t.block->grid.parameters;
  if (at + bytes > parameters.size()) [[unlikely]]
    fail_outside(t, i, at, bytes, "parameters", parameters.size());
  return parameters.data() + at;
}

std::byte* generic_place(Thread& t, const Instruction& i, u64 at, std::size_t bytes, bool write) {
  const auto begins = [](std::span<const std::byte> memory) { return reinterpret_cast<u64>(memory.data()); };
  const auto& parameters = t.block->grid.parameters;
  if (within(t.block->shared, at)) return shared_place(t, i, at - begins(t.block->shared), bytes, write);
  if (within(t.local, at)) return local_place(t, i, at - begins(t.local), bytes);
  if (within(parameters, at) && !write) return parameter_place(t, i, at - begins(parameters), bytes);
  return global_place(t, i, at, bytes, write);
}

// The destination is the thread's from here until it has waited: a write at both ends.
void begin_copy(Thread& t, const Instruction& i) {
  const auto bytes = static_cast<std::size_t>(i.bits);
  const u64 to = address_of(t, i), from = t.registers[i.from[0]] + t.registers[i.from[2]];
  for (const u64 at : {to, from})
    if (at % bytes != 0) fail_misaligned(t, i, at, bytes);
  const Copy copy{static_cast<u32>(to), static_cast<u32>(bytes),
                  std::min(value<u32>(t, i.from[1]), static_cast<u32>(bytes)), from};
  shared_place(t, i, to, bytes, true);
  if (copy.read != 0) global_place(t, i, from, copy.read, false);
  if (t.block->grid.options.copies_at_once) make(t, copy);
  ++t.block->grid.counts.copies;
  t.begun.push_back(copy);
}
void commit_copies(Thread& t, const Instruction&) { t.underway.push_back(std::exchange(t.begun, {})); }
void await_copies(Thread& t, const Instruction& i) {
  for (; t.underway.size() > static_cast<std::size_t>(i.offset); t.underway.erase(t.underway.begin()))
    for (const Copy& c : t.underway.front()) {
      shared_place(t, i, c.to, c.bytes, true);
      if (!t.block->grid.options.copies_at_once) make(t, c);
    }
}
void await_all_copies(Thread& t, const Instruction& i) {
  commit_copies(t, i);
  await_copies(t, i);
}

}  // namespace spn::ptx
