// What happens to communicators whose work hangs, with made-up ones: NCCL needs GPUs.
#include "engine/dist/watch.h"

#include <gtest/gtest.h>

#include <chrono>

#include "engine/core/check.h"
#include "engine/core/stopwatch.h"
#include "tests/support/environment.h"

namespace spn::dist {
namespace {

using namespace std::chrono_literals;

bool soon(const std::function<bool()>& what) {
  for (const Stopwatch watch; watch.seconds() < 20; std::this_thread::sleep_for(1ms))
    if (what()) return true;
  return false;
}

// A communicator: `broken` is its error, and it does not end while a graph holds it.
struct Fake {
  std::atomic<bool> broken = false, held = false, ending = false;
  std::atomic<int> used = 0;
};
std::shared_ptr<WatchedComm> line_of(const std::shared_ptr<Fake>& f) {
  return std::make_shared<WatchedComm>([f] { return f->broken ? std::string("a cable was pulled") : std::string(); },
                                       [f] {
                                         f->ending = true;
                                         while (f->held) std::this_thread::sleep_for(1ms);
                                       });
}
constexpr Watch::Limits kQuick{.period = 0.001, .wait = 0, .parting = 0.05};

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// NCCL's abort returns when no captured step holds the communicator any more, and the step is dropped by the thread
// that waits for the other communicator's kernels.
TEST(Watch, EndsEveryLineThoughTheFirstOneIsHeld) {
  const auto a = std::make_shared<Fake>(), b = std::make_shared<Fake>();
  a->held = b->held = true;
  const auto first = line_of(a), second = line_of(b);
  {
    Watch watch({}, kQuick);
    watch.add(first);
    watch.add(second);
    first->use("x", [&] { ++a->used; });
    b->broken = true;
    EXPECT_TRUE(soon([&] { return a->ending && b->ending; }));
    EXPECT_TRUE(first->given_up() && second->given_up());
    EXPECT_FALSE(first->ended() || second->ended());
    for (const auto& line : {first, second}) {
      EXPECT_NE(message_of([&] { line->use("all_reduce", [&] { ++a->used; }); }).find("a cable was pulled"),
                std::string::npos);
      EXPECT_NE(message_of([&] { line->check_health("step"); }).find("[step]"), std::string::npos);
    }
    EXPECT_EQ(a->used, 1);
  }  // the watch goes though they are still held
  EXPECT_FALSE(first->ended());
  a->held = b->held = false;  // the captured step is dropped
  EXPECT_TRUE(soon([&] { return first->ended() && second->ended(); }));
}

// One that stands in a use and asks, and one that waits for its turn behind it: both throw.
TEST(Watch, NobodyStaysBehindInALineThatEnds) {
  const auto f = std::make_shared<Fake>();
  const auto line = line_of(f);
  Watch watch({}, kQuick);
  watch.add(line);
  std::string inside, waiting;
  std::atomic<bool> in = false;
  std::thread user([&] {
    inside = message_of([&] {
      line->use("settle", [&] {
        in = true;
        for (;;) {
          line->check_health("settle");
          std::this_thread::sleep_for(1ms);
        }
      });
    });
  });
  ASSERT_TRUE(soon([&] { return in.load(); }));
  std::thread next([&] { waiting = message_of([&] { line->use("turn", [] {}); }); });
  f->broken = true;  // seen by nobody: the line is in use
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(line->given_up());
  line->give_up("rank 3 is gone");
  user.join();
  next.join();
  EXPECT_NE(inside.find("rank 3 is gone"), std::string::npos) << inside;
  EXPECT_NE(waiting.find("rank 3 is gone"), std::string::npos) << waiting;
}

// Who hangs inside a use for good is ended all the same.
TEST(Watch, DoesNotWaitForOneThatIsStuck) {
  const auto f = std::make_shared<Fake>(), other = std::make_shared<Fake>();
  const auto line = line_of(f);
  std::atomic<bool> in = false;
  std::thread stuck([&] {
    line->use("launch", [&] {
      in = true;
      while (!f->ending) std::this_thread::sleep_for(1ms);  // as a library's call: only the end frees it
    });
  });
  ASSERT_TRUE(soon([&] { return in.load(); }));
  Watch watch({}, {.period = 0.001, .wait = 0, .patience = 0.3, .parting = 0.05});
  watch.add(line);
  watch.add(line_of(other));
  const auto start = std::chrono::steady_clock::now();
  other->broken = true;
  EXPECT_TRUE(soon([&] { return f->ending.load(); }));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 300ms);  // who may yet leave by himself is let go first
  stuck.join();
}

TEST(Watch, AWaitThatTakesTooLongIsALostRank) {
  for (const double limit : {0.0, 5.0}) {
    const auto f = std::make_shared<Fake>();
    const auto line = line_of(f);
    std::atomic<double> waits = 4.9;
    std::atomic<int> looks = 0;
    Watch watch(
        [&] {
          ++looks;
          return waits.load();
        },
        {.period = 0.001, .wait = limit, .parting = 5});
    watch.add(line);
    EXPECT_TRUE(limit == 0 || soon([&] { return looks > 3; }));
    EXPECT_FALSE(line->given_up());
    waits = 5.1;
    if (limit > 0) {
      EXPECT_TRUE(soon([&] { return line->ended(); }));
      EXPECT_NE(message_of([&] { line->check_health("x"); }).find("SPN_RANK_TIMEOUT"), std::string::npos);
    } else {
      std::this_thread::sleep_for(20ms);
      EXPECT_FALSE(line->given_up());
    }
  }
}

TEST(Watch, TheTimeoutComesFromTheEnvironment) {
  const test::ScopedVariable timeout("SPN_RANK_TIMEOUT", nullptr);
  EXPECT_EQ(rank_timeout(), 600);
  timeout.set("2.5");
  EXPECT_EQ(rank_timeout(), 2.5);
  timeout.set("0");
  EXPECT_EQ(rank_timeout(), 0);
  for (const char* wrong : {"-1", "soon", "5s", "nan"}) {
    timeout.set(wrong);
    EXPECT_NE(message_of([] { rank_timeout(); }).find("SPN_RANK_TIMEOUT"), std::string::npos) << wrong;
  }
}

}  // namespace
}  // namespace spn::dist
