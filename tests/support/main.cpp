// The main of every test binary: MPI starts once and ends after the last test; under mpirun one rank's failure fails
// all, and a watchdog ends a run that hangs (SPN_TEST_WATCHDOG_S, 240 by default).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "engine/core/log.h"
#include "engine/dist/comm.h"
#include "tests/support/world.h"

namespace spn::test {
namespace {
dist::Comm* g_world = nullptr;

class RankPrinter : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& info) override {
    current_ = std::string(info.test_suite_name()) + "." + info.name();
  }
  void OnTestPartResult(const testing::TestPartResult& r) override {
    if (r.failed() && world().rank() != 0)
      std::fprintf(stderr, "[rank %d] %s: %s:%d\n%s\n", world().rank(), current_.c_str(),
                   r.file_name() ? r.file_name() : "?", r.line_number(), r.message());
  }
  std::string current_;
};
}  // namespace

dist::Comm& world() { return *g_world; }
}  // namespace spn::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  auto world = spn::dist::make_world();
  spn::test::g_world = world.get();
  spn::log::init(world->rank(), world->size());
  if (const char* want = std::getenv("SPN_REQUIRE_RANKS"); want && std::atoi(want) != world->size()) {
    std::fprintf(stderr, "expected %s ranks, got %d\n", want, world->size());
    return 1;
  }
  const char* limit = std::getenv("SPN_TEST_WATCHDOG_S");
  const int seconds = limit ? std::atoi(limit) : 240;
  std::atomic<bool> done{false};
  std::thread watchdog([&] {
    for (int i = 0; i < seconds * 10 && !done; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (!done && world->size() > 1) {
      std::fprintf(stderr, "[rank %d] watchdog: no end after %d s\n", world->rank(), seconds);
      std::_Exit(1);
    }
  });
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (world->rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new spn::test::RankPrinter);
  const int mine = RUN_ALL_TESTS();
  const bool failed = spn::dist::any(*world, mine != 0);
  done = true;
  watchdog.join();
  world.reset();
  return failed ? 1 : 0;
}
