#include "tests/support/ptx/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "tests/support/ptx/thread.h"
#include "tests/support/ptx/warp_ops.h"

namespace spn::ptx {
namespace {

constexpr int kPoison = 0xff;  // NaNs of every width
constexpr std::size_t kSharedAlign = 128;

// Runs until it waits or is over.
void advance(const Kernel& kernel, Thread& t, Counts& counts) {
  const Instruction* const code = kernel.code.data();
  std::int64_t count = 0;
  while (t.state == State::ready) {
    const Instruction& i = code[t.at];
    ++count;
    if (i.guard != kNoRegister && ((t.registers[i.guard] & 1) != 0) == i.guard_negated) {
      ++t.at;
      continue;
    }
    switch (i.step) {
      case Step::next:
        i.run(t, i);
        ++t.at;
        break;
      case Step::branch: t.at = i.target; break;
      case Step::leave: t.state = State::done; break;
      case Step::block_barrier: t.state = State::at_barrier; break;
      case Step::warp: t.state = State::at_warp; break;
    }
  }
  counts.instructions += count;
}

// The threads of a block and their registers, used again by the grid's next block.
class Threads {
 public:
  Threads(Grid& grid, Size shape)
      : grid_(grid),
        shape_(shape),
        threads_(std::size_t{shape.x} * shape.y * shape.z),
        registers_(threads_.size() * grid.kernel.registers.size()),
        local_(threads_.size() * grid.kernel.local_bytes) {
    const auto& initial = grid.kernel.registers;
    for (std::size_t j = 0; j < threads_.size(); ++j)
      std::copy(initial.begin(), initial.end(), registers_.begin() + static_cast<std::ptrdiff_t>(j * initial.size()));
  }

  void run(Block& block, Size at, Size of) {
    begin(block, at, of);
    for (;;) {
      bool moved = false;
      for (std::size_t n = 0; n < warps(); ++n) moved = run_warp(in_order(n, warps())) || moved;
      if (all(State::done)) break;
      if (release_block(block)) continue;
      if (!moved) stuck(block);
    }
    for (const Thread& t : threads_) {
      const bool left = !t.begun.empty() ||
                        std::any_of(t.underway.begin(), t.underway.end(), [](const auto& g) { return !g.empty(); });
      check(!left, "ptx", "expected copies to be awaited, got a thread that leaves some: thread {} of block {} of {}",
            t.number, block.number, grid_.kernel.name);
    }
  }

 private:
  std::size_t warps() const { return (threads_.size() + 31) / 32; }
  std::size_t in_order(std::size_t n, std::size_t of) const { return grid_.options.backward ? of - 1 - n : n; }
  bool all(State state) const {
    return std::all_of(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
  }

  void begin(Block& block, Size at, Size of) {
    std::fill(local_.begin(), local_.end(), std::byte{kPoison});
    const std::size_t n = grid_.kernel.registers.size(), local = grid_.kernel.local_bytes;
    for (std::size_t j = 0; j < threads_.size(); ++j) {
      Thread& t = threads_[j];
      t = Thread{};
      t.registers = registers_.data() + j * n;
      t.number = static_cast<int>(j);
      t.lane = t.number % 32;
      t.block = &block;
      t.local = std::span(local_).subspan(j * local, local);
      const auto k = static_cast<unsigned>(j);
      const std::array<unsigned, kSpecials> specials = {k % shape_.x,
                                                        k / shape_.x % shape_.y,
                                                        k / (shape_.x * shape_.y),
                                                        shape_.x,
                                                        shape_.y,
                                                        shape_.z,
                                                        at.x,
                                                        at.y,
                                                        at.z,
                                                        of.x,
                                                        of.y,
                                                        of.z,
                                                        k % 32};
      std::copy(specials.begin(), specials.end(), t.registers);
    }
  }

  // Until its lanes wait for the block, or for each other without end.
  bool run_warp(std::size_t warp) {
    std::array<Thread*, 32> lanes{};
    for (std::size_t l = 0; l < 32 && warp * 32 + l < threads_.size(); ++l) lanes[l] = &threads_[warp * 32 + l];
    bool moved = false;
    for (;;) {
      bool again = false;
      for (std::size_t n = 0; n < 32; ++n)
        if (Thread* t = lanes[in_order(n, 32)]; t != nullptr && t->state == State::ready) {
          advance(grid_.kernel, *t, grid_.counts);
          again = true;
        }
      for (std::size_t l = 0; l < 32; ++l) again = release_lanes(lanes, l) || again;
      if (!again) return moved;
      moved = true;
    }
  }

  // Carries out what lane l waits for, if all that must take part have come.
  bool release_lanes(Lanes lanes, std::size_t l) {
    if (lanes[l] == nullptr || lanes[l]->state != State::at_warp) return false;
    const Instruction& i = grid_.kernel.code[static_cast<std::size_t>(lanes[l]->at)];
    const u32 mask = value<u32>(*lanes[l], i.mask);
    if ((mask >> l & 1U) == 0) fail_at(*lanes[l], i, fmt::format("expected a mask with lane {}, got {:#x}", l, mask));
    for (std::size_t k = 0; k < 32; ++k) {
      if ((mask >> k & 1U) == 0) continue;
      if (lanes[k] == nullptr || lanes[k]->state != State::at_warp) return false;
      const Instruction& other = grid_.kernel.code[static_cast<std::size_t>(lanes[k]->at)];
      const bool same = other.number == i.number || (i.warp == warp_barrier && other.warp == warp_barrier);
      if (!same || value<u32>(*lanes[k], other.mask) != mask) return false;
    }
    i.warp(lanes, i, mask);
    for (std::size_t k = 0; k < 32; ++k)
      if ((mask >> k & 1U) != 0) {
        lanes[k]->state = State::ready;
        ++lanes[k]->at;
      }
    return true;
  }

  bool release_block(Block& block) {
    if (!all(State::at_barrier)) return false;
    const int at = threads_.front().at;
    for (Thread& t : threads_) {
      if (t.at != at)
        fail_at(t, grid_.kernel.code[static_cast<std::size_t>(t.at)],
                "expected all threads at one barrier, got some at another");
      t.state = State::ready;
      ++t.at;
    }
    ++block.epoch;
    return true;
  }

  [[noreturn]] void stuck(const Block& block) const {
    std::array<int, 4> in{}, example{-1, -1, -1, -1};
    for (const Thread& t : threads_) {
      ++in[static_cast<std::size_t>(t.state)];
      example[static_cast<std::size_t>(t.state)] = t.number;
    }
    const int exchange = example[1];
    const std::string where =
        exchange < 0
            ? ""
            : ": " + grid_.kernel.code[static_cast<std::size_t>(threads_[static_cast<std::size_t>(exchange)].at)].text;
    fail("ptx",
         "expected a thread that can go on, got none in block {} of {}: {} wait at a barrier (thread {}), {} for lanes "
         "of "
         "their warp (thread {}{}), {} have left (thread {})",
         block.number, grid_.kernel.name, in[2], example[2], in[1], exchange, where, in[3], example[3]);
  }

  Grid& grid_;
  Size shape_;
  std::vector<Thread> threads_;
  std::vector<u64> registers_;
  std::vector<std::byte> local_;
};

}  // namespace

Counts run(const Kernel& kernel, Size grid, Size shape, std::size_t dynamic_shared,
           std::span<const std::byte> parameters, const Options& options) {
  const std::size_t threads = std::size_t{shape.x} * shape.y * shape.z;
  check(threads >= 1 && threads <= (kernel.most_threads != 0 ? kernel.most_threads : 1024), "ptx",
        "expected 1 to {} threads a block, got {} for {}", kernel.most_threads != 0 ? kernel.most_threads : 1024,
        threads, kernel.name);
  const std::size_t shared_bytes = kernel.static_shared + dynamic_shared;
  check(shared_bytes <= options.shared_limit, "ptx", "expected at most {} bytes of shared memory, got {} for {}",
        options.shared_limit, shared_bytes, kernel.name);
  check(parameters.size() == kernel.parameter_bytes, "ptx", "expected {} bytes of parameters, got {} for {}",
        kernel.parameter_bytes, parameters.size(), kernel.name);

  Grid g{kernel,
         options,
         {parameters.begin(), parameters.end()},
         std::vector<Memory>(kernel.code.size()),
         Races(Races::Between::threads),
         Races(Races::Between::blocks),
         {}};
  std::vector<std::byte> memory(shared_bytes + kSharedAlign);
  const std::size_t past = reinterpret_cast<std::uintptr_t>(memory.data()) % kSharedAlign;
  const std::span shared(memory.data() + (kSharedAlign - past) % kSharedAlign, shared_bytes);
  Threads all(g, shape);
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t n = 0; n < blocks; ++n) {
    const std::uint64_t k = options.backward ? blocks - 1 - n : n;
    std::fill(shared.begin(), shared.end(), std::byte{kPoison});
    Block block{g, shared, static_cast<u32>(k), 0, std::vector<u32>((threads + 31) / 32)};
    all.run(block,
            {static_cast<unsigned>(k % grid.x), static_cast<unsigned>(k / grid.x % grid.y),
             static_cast<unsigned>(k / grid.x / grid.y)},
            grid);
  }
  return g.counts;
}

std::vector<std::byte> pack(const Kernel& kernel, std::span<const Argument> arguments) {
  check(arguments.size() == kernel.parameters.size(), "ptx", "expected {} arguments, got {} for {}",
        kernel.parameters.size(), arguments.size(), kernel.name);
  std::vector<std::byte> packed(kernel.parameter_bytes);
  for (std::size_t k = 0; k < arguments.size(); ++k) {
    const Parameter& p = kernel.parameters[k];
    check(arguments[k].bytes == p.bytes, "ptx", "expected {} bytes for parameter {}, got {} for {}", p.bytes, k,
          arguments[k].bytes, kernel.name);
    std::memcpy(packed.data() + p.at, arguments[k].at, p.bytes);
  }
  return packed;
}

}  // namespace spn::ptx
