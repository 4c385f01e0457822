// What the block emulator promises of the kernels it passes: each mistake that a GPU would leave to chance is found.
// Only the emulated binary has this file.
#include "tests/support/emulator/emulator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::emulator {
namespace {

using kernels::cuda::launch;
using kernels::cuda::stream;

constexpr int kThreads = 64;

// Every thread passes its number to the thread opposite; without the barrier it may read before that one has written.
template <bool barrier>
void mirror(int* out) {
  SPN_SHARED(int, seen, kThreads);
  const int me = static_cast<int>(threadIdx.x);
  seen[me] = me;
  if (barrier) __syncthreads();
  out[me] = seen[kThreads - 1 - me];
}
// As mirror, after an exchange within the warp: only a warp that runs ahead of the other shows what is missing.
template <bool barrier>
void mirror_behind_an_exchange(int* out) {
  SPN_SHARED(int, seen, kThreads);
  const int me = static_cast<int>(threadIdx.x);
  seen[me] = __shfl_sync(0xffffffffU, me, me % 32);
  if (barrier) __syncthreads();
  out[me] = seen[kThreads - 1 - __shfl_sync(0xffffffffU, me, me % 32)];
}
void some_skip_the_barrier(int* out) {
  if (threadIdx.x == 40) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
void lane_has_left(int* out) {
  if (threadIdx.x == 5) return;
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1, 1);
}
void lane_is_not_named(int* out) { out[threadIdx.x] = __shfl_sync(0xffU, 1, 0); }
void store_at(unsigned char* p, std::int64_t at) { p[at] = 1; }
void read_shared(float* out) {
  SPN_SHARED(float, fixed, 2);
  SPN_DYNAMIC_SHARED(float, dynamic);
  out[0] = fixed[1];
  out[1] = dynamic[0];
}
void shared_of(float* out) {
  SPN_SHARED(float, big, 40 * 1024);
  SPN_SHARED(float, bigger, 20 * 1024);
  out[0] = big[0] + bigger[0];
}
void nothing(int*) {}

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
void expect_error(const std::function<void()>& f, std::initializer_list<const char*> words) {
  const std::string got = message(f);
  for (const char* w : words) EXPECT_NE(got.find(w), std::string::npos) << w << " in: " << got;
}

class Emulator : public testing::Test {
 protected:
  void TearDown() override { set_order(Order::forward); }
  template <class K>
  std::vector<int> run(K kernel, Order order) {
    set_order(order);
    std::vector<int> out(kThreads, -7);
    launch(kernel, dim3(1), dim3(kThreads), 0, stream(), out.data());
    return out;
  }
};

TEST_F(Emulator, AMissingBarrierShowsInTheOrders) {
  std::vector<int> want;
  for (int i = kThreads - 1; i >= 0; --i) want.push_back(i);
  for (const Order order : {Order::forward, Order::backward, Order::shuffled}) {
    EXPECT_EQ(run(mirror<true>, order), want);
    EXPECT_NE(run(mirror<false>, order), want);
  }
  EXPECT_NE(run(mirror<false>, Order::forward), run(mirror<false>, Order::backward));
}

TEST_F(Emulator, AWarpRunsAheadOfTheOthers) {
  for (const Order order : {Order::forward, Order::backward}) {
    EXPECT_EQ(run(mirror_behind_an_exchange<true>, order), run(mirror<true>, order));
    EXPECT_NE(run(mirror_behind_an_exchange<false>, order), run(mirror<true>, order));
  }
  EXPECT_EQ(run(mirror_behind_an_exchange<true>, Order::shuffled), run(mirror<true>, Order::forward));
}

TEST_F(Emulator, ABarrierThatSomeSkipFails) {
  for (const Order order : {Order::forward, Order::backward, Order::shuffled})
    expect_error([&] { run(some_skip_the_barrier, order); },
                 {"63 threads wait at a barrier", "1 have left the kernel (thread 40)"});
  EXPECT_EQ(run(mirror<true>, Order::forward)[0], kThreads - 1);  // and the next kernel runs
}

TEST_F(Emulator, AnExchangeWithALaneThatHasLeftFails) {
  expect_error([&] { run(lane_has_left, Order::forward); },
               {"31 at a warp exchange", "33 have left the kernel (thread 63)"});
}

TEST_F(Emulator, AnExchangeThatLeavesOutItsOwnLaneFails) {
  expect_error([&] { run(lane_is_not_named, Order::forward); }, {"lane 8 is not in the mask 0xff"});
}

class EmulatorDeathTest : public Emulator {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }  // the CPU kernels have threads
};

TEST_F(EmulatorDeathTest, AWriteOutOfBoundsEndsTheRun) {
  const auto store = [](std::size_t bytes, std::int64_t at) {
    void* p = kernels::cuda::alloc(bytes);
    launch(store_at, dim3(1), dim3(1), 0, stream(), static_cast<unsigned char*>(p), at);
    kernels::cuda::release(p, bytes);
  };
  store(13, 12);
  EXPECT_DEATH(store(16, 16), "");
  EXPECT_DEATH(store(4096, 4096), "");
  // up to the next 16 bytes, and before the front: found when the memory is given back
  EXPECT_DEATH(store(13, 13), "written outside an allocation");
  EXPECT_DEATH(store(13, 15), "written outside an allocation");
  EXPECT_DEATH(store(13, -1), "written outside an allocation");
}

TEST_F(EmulatorDeathTest, AWritePastScratchIsFoundAtItsNextUse) {
  const auto use_twice = [](std::int64_t at) {
    auto* p = static_cast<unsigned char*>(kernels::cuda::scratch(kernels::cuda::Scratch::kernel, 21));
    launch(store_at, dim3(1), dim3(1), 0, stream(), p, at);
    const std::string got = message([] { kernels::cuda::scratch(kernels::cuda::Scratch::kernel, 1); });
    if (got != "no error") {
      std::fputs(got.c_str(), stderr);
      std::abort();
    }
  };
  use_twice(20);
  EXPECT_DEATH(use_twice(21), "wrote outside its scratch");
}

TEST_F(Emulator, SharedMemoryBeginsAsNaN) {
  std::vector<float> out(2, 0);
  launch(read_shared, dim3(1), dim3(1), 16, stream(), out.data());
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
}

TEST_F(Emulator, LimitsOfALaunch) {
  const auto go = [](dim3 grid, dim3 block, std::size_t shared) {
    return [=] { launch(nothing, grid, block, shared, stream(), static_cast<int*>(nullptr)); };
  };
  EXPECT_EQ(message(go(dim3(2, 3, 4), dim3(1024), 227 * 1024)), "no error");
  expect_error(go(dim3(1), dim3(1025), 0), {"threads a block, got 1025"});
  expect_error(go(dim3(1), dim3(32, 33), 0), {"threads a block, got 1056"});
  expect_error(go(dim3(1, 65536), dim3(32), 0), {"1 x 65536 x 1 blocks"});
  expect_error(go(dim3(1), dim3(32), 227 * 1024 + 1), {"bytes of shared memory"});
  std::vector<float> out(1);
  expect_error([&] { launch(shared_of, dim3(1), dim3(1), 0, stream(), out.data()); }, {"bytes of shared memory"});
}

TEST_F(Emulator, CountsLaunchesAndRunsNothingForAnEmptyGrid) {
  const std::int64_t before = launches();
  launch(nothing, dim3(3), dim3(32), 0, stream(), static_cast<int*>(nullptr));
  launch(nothing, dim3(0), dim3(32), 0, stream(), static_cast<int*>(nullptr));
  EXPECT_EQ(launches(), before + 1);
}

}  // namespace
}  // namespace spn::emulator
