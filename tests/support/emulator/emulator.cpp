#include "tests/support/emulator/emulator.h"

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/philox.h"
#include "tests/support/emulator/guarded.h"

namespace spn::emulator {
namespace {

namespace context = boost::context;

// What a device of the newest supported architecture allows a block.
std::size_t g_shared_limit = std::size_t{227} * 1024;
constexpr unsigned kThreadLimit = 1024, kGridLimit = 65535;  // grid: of y and z
constexpr std::size_t kStack = std::size_t{128} << 10;

enum class State { ready, at_barrier, at_exchange, done };

struct AsyncCopy {
  void* to;
  const void* from;  // null: zeros
  std::size_t bytes;
  void make() const {
    if (from == nullptr)
      std::memset(to, 0, bytes);
    else
      std::memcpy(to, from, bytes);
  }
};
using CopyGroup = std::vector<AsyncCopy>;

struct Thread {
  Dim3 index;
  int number = 0;
  State state = State::ready;
  unsigned mask = 0;                // of the exchange it waits at
  unsigned exchanges = 0;           // passed so far: its parity picks the slots
  std::size_t copies = 0;           // begun so far
  CopyGroup begun;                  // not committed yet
  std::vector<CopyGroup> underway;  // oldest first
  context::fiber fiber, scheduler;
};

struct Warp {
  // A lane may run ahead to the next exchange while others still read this one's values, never further.
  std::array<Slots, 2> slots;
};

class Block {
 public:
  Block(const Dim3& of_grid, const Dim3& of_shape, const Dim3& where, std::size_t dynamic)
      : grid(of_grid), shape(of_shape), at(where), dynamic_(dynamic) {
    const unsigned n = shape.x * shape.y * shape.z;
    threads_.resize(n);
    warps_.resize((n + 31) / 32);
    for (unsigned i = 0; i < n; ++i) {
      threads_[i].number = static_cast<int>(i);
      threads_[i].index = Dim3(i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y);
    }
  }

  // Forward and backward, a warp goes on through its exchanges until it waits for the block, while the others stand:
  // what it may read or overwrite too early, it does. Shuffled, all threads take turns.
  void run(const std::function<void()>& body, Order order, std::uint32_t turn) {
    std::vector<std::size_t> sequence(threads_.size());
    for (std::size_t i = 0; i < sequence.size(); ++i) sequence[i] = i;
    if (order == Order::backward) std::reverse(sequence.begin(), sequence.end());
    const auto all = [&](State state) {
      return std::all_of(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
    };
    while (!all(State::done)) {
      bool ran = false;
      if (order == Order::shuffled) {
        for (std::size_t i = sequence.size(); i > 1; --i)
          std::swap(sequence[i - 1], sequence[philox(turn, static_cast<std::uint32_t>(i), 7, 0, 0).v[0] % i]);
        ran = step_all(sequence, body);
        for (std::size_t warp = 0; warp < warps_.size(); ++warp) ran = release_warp(warp) || ran;
      } else {
        for (std::size_t n = 0; n < warps_.size(); ++n) {
          const std::size_t warp = order == Order::forward ? n : warps_.size() - 1 - n;
          const auto [first, end] = lanes_of(warp);
          const std::size_t from = order == Order::forward ? first : threads_.size() - end;
          const std::span lanes(sequence.data() + from, end - first);
          while (step_all(lanes, body) || release_warp(warp)) ran = true;
        }
      }
      if (all(State::at_barrier)) {
        for (Thread& t : threads_) t.state = State::ready;
        ran = true;
      }
      if (!ran && !all(State::done)) stuck();
    }
  }

  Thread& current() { return *current_; }
  Warp& warp_of(const Thread& t) { return warps_[static_cast<std::size_t>(t.number / 32)]; }

  // Back to the scheduler until the state is ready again.
  void wait(State state) {
    Thread& t = *current_;
    t.state = state;
    t.scheduler = std::move(t.scheduler).resume();
  }

  void* shared(const char* file, int line, std::size_t bytes) {
    auto& memory = shared_[{file, line}];
    if (!memory) {
      memory.emplace(bytes);
      used_ += bytes;
      check(used_ + dynamic_.size() <= g_shared_limit, "emulator", "expected at most {} bytes of shared memory, got {}",
            g_shared_limit, used_ + dynamic_.size());
    }
    check(memory->size() == bytes, "emulator", "{}:{}: shared memory of {} and {} bytes at one place", file, line,
          memory->size(), bytes);
    return memory->data();
  }
  void* dynamic_shared() { return dynamic_.data(); }

  const Dim3 grid, shape, at;

 private:
  void step(Thread& t, const std::function<void()>& body) {
    current_ = &t;
    if (!t.fiber && !t.scheduler) {
      t.fiber = context::fiber(std::allocator_arg, stacks(), [this, &t, &body](context::fiber&& back) {
        t.scheduler = std::move(back);
        try {
          body();
          // a device makes them some time later, when others may own this memory
          check(t.begun.empty() && t.underway.empty(), "emulator", "thread {} leaves copies that it has not awaited",
                t.number);
        } catch (const context::detail::forced_unwind&) {
          throw;  // a thread that never ran to its end goes with its block: not an error, and not ours to catch
        } catch (...) {
          error_ = std::current_exception();
        }
        t.state = State::done;
        return std::move(t.scheduler);
      });
    }
    t.fiber = std::move(t.fiber).resume();
    if (error_) std::rethrow_exception(error_);
  }

  // The ready ones of these, each until it waits; whether there were any.
  bool step_all(std::span<const std::size_t> sequence, const std::function<void()>& body) {
    bool ran = false;
    for (const std::size_t i : sequence)
      if (threads_[i].state == State::ready) {
        step(threads_[i], body);
        ran = true;
      }
    return ran;
  }

  std::pair<std::size_t, std::size_t> lanes_of(std::size_t warp) const {
    return {warp * 32, std::min(threads_.size(), warp * 32 + 32)};
  }

  // Lets those lanes go on whose exchange has all that must take part; whether there were any.
  bool release_warp(std::size_t warp) {
    const auto [first, end] = lanes_of(warp);
    bool any = false;
    for (std::size_t i = first; i < end; ++i) {
      const Thread& t = threads_[i];
      if (t.state != State::at_exchange) continue;
      bool complete = true;
      for (std::size_t l = 0; l < 32 && complete; ++l)
        if ((t.mask >> l & 1U) != 0)
          complete = first + l < end && threads_[first + l].state == State::at_exchange &&
                     threads_[first + l].mask == t.mask && threads_[first + l].exchanges == t.exchanges;
      if (!complete) continue;
      const unsigned mask = t.mask;
      for (std::size_t l = 0; l < 32; ++l)
        if ((mask >> l & 1U) != 0) {
          ++threads_[first + l].exchanges;
          threads_[first + l].state = State::ready;
        }
      any = true;
    }
    return any;
  }

  [[noreturn]] void stuck() const {
    std::array<int, 4> in{}, example{-1, -1, -1, -1};
    for (const Thread& t : threads_) {
      const auto s = static_cast<std::size_t>(t.state);
      ++in[s];
      example[s] = t.number;
    }
    fail(
        "emulator",
        "block ({}, {}, {}) cannot go on: {} threads wait at a barrier (thread {}), {} at a warp exchange (thread {}), "
        "{} have left the kernel (thread {})",
        at.x, at.y, at.z, in[1], example[1], in[2], example[2], in[3], example[3]);
  }

  static context::pooled_fixedsize_stack& stacks() {
    static context::pooled_fixedsize_stack pool(kStack);
    return pool;
  }

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::map<std::pair<const char*, int>, std::optional<Guarded>> shared_;
  std::size_t used_ = 0;
  Guarded dynamic_;
  Thread* current_ = nullptr;
  std::exception_ptr error_;
};

Order g_order = Order::forward;
std::int64_t g_launches = 0, g_copies = 0;
Block* g_block = nullptr;
bool g_recording = false;
Recorded g_recorded;

Block& block() {
  check(g_block != nullptr, "emulator", "device code was called outside a kernel");
  return *g_block;
}

}  // namespace

void queue(std::function<void()> work) {
  if (g_recording)
    g_recorded.push_back(std::move(work));
  else
    work();
}
void begin_recording() {
  check(!g_recording, "emulator", "a capture begins inside another");
  g_recording = true;
}
Recorded end_recording() {
  g_recording = false;
  return std::exchange(g_recorded, {});
}
bool recording() { return g_recording; }

std::size_t shared_limit() { return g_shared_limit; }
void set_shared_limit(std::size_t bytes) { g_shared_limit = bytes; }
void set_order(Order order) { g_order = order; }
Order order() { return g_order; }
std::int64_t launches() { return g_launches; }
std::int64_t copies_begun() { return g_copies; }
void count_copies(std::int64_t more) { g_copies += more; }

const Dim3& thread_index() { return block().current().index; }
const Dim3& block_index() { return block().at; }
const Dim3& block_shape() { return block().shape; }
const Dim3& grid_shape() { return block().grid; }
int lane() { return block().current().number % 32; }
void* shared(const char* file, int line, std::size_t bytes) { return block().shared(file, line, bytes); }
void* dynamic_shared() { return block().dynamic_shared(); }
void block_barrier() { block().wait(State::at_barrier); }

const Slots& exchange(unsigned mask, const void* value, std::size_t bytes) {
  Block& b = block();
  Thread& t = b.current();
  check((mask >> (t.number % 32) & 1U) != 0, "emulator", "lane {} is not in the mask {:#x} of its own exchange",
        t.number % 32, mask);
  Slots& slots = b.warp_of(t).slots[t.exchanges % 2];
  if (bytes != 0) std::memcpy(slots[static_cast<std::size_t>(t.number % 32)].data(), value, bytes);
  t.mask = mask;
  b.wait(State::at_exchange);
  return slots;
}

void begin_copy(void* to, const void* from, std::size_t bytes) {
  Thread& t = block().current();
  ++g_copies;
  const AsyncCopy copy{to, from, bytes};
  const bool at_once =
      g_order == Order::backward ||
      (g_order == Order::shuffled &&
       philox(static_cast<std::uint64_t>(t.number), static_cast<std::uint32_t>(t.copies++), 11, 0, 0).v[0] % 2 == 0);
  if (at_once)
    copy.make();
  else
    t.begun.push_back(copy);
}
void commit_copies() {
  Thread& t = block().current();
  t.underway.push_back(std::exchange(t.begun, {}));
}
void await_copies(std::size_t but) {
  for (auto& underway = block().current().underway; underway.size() > but; underway.erase(underway.begin()))
    for (const AsyncCopy& c : underway.front()) c.make();
}

void check_launch(const Dim3& grid, const Dim3& shape, std::size_t shared_bytes) {
  const std::uint64_t threads = std::uint64_t{shape.x} * shape.y * shape.z;
  check(threads >= 1 && threads <= kThreadLimit, "emulator", "expected 1 to {} threads a block, got {}", kThreadLimit,
        threads);
  check(grid.y <= kGridLimit && grid.z <= kGridLimit && grid.x <= 0x7fffffffU, "emulator",
        "a grid of {} x {} x {} blocks is beyond a device's limits", grid.x, grid.y, grid.z);
  check(shared_bytes <= g_shared_limit, "emulator", "expected at most {} bytes of shared memory, got {}",
        g_shared_limit, shared_bytes);
  check(g_block == nullptr, "emulator", "a kernel launches a kernel");
  ++g_launches;
}

void run_grid(const Dim3& grid, const Dim3& shape, std::size_t shared_bytes, const std::function<void()>& body) {
  check_launch(grid, shape, shared_bytes);
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t n = 0; n < blocks; ++n) {
    const std::uint64_t i = g_order == Order::forward ? n : blocks - 1 - n;
    const Dim3 at(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                  static_cast<unsigned>(i / grid.x / grid.y));
    Block b(grid, shape, at, shared_bytes);
    g_block = &b;
    try {
      b.run(body, g_order, static_cast<std::uint32_t>(g_launches));
    } catch (...) {
      g_block = nullptr;
      throw;
    }
    g_block = nullptr;
  }
}

}  // namespace spn::emulator
