// What the emulator promises of copies beside the kernels, and that a training step makes the host wait once: for the
// results of the step before. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <sstream>

#include "engine/dist/comm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "launch/cli/command.h"
#include "tests/cuda/twin.h"
#include "tests/support/cli_run.h"
#include "tests/support/emulator/emulator.h"

namespace spn::emulator {
namespace {

using namespace kernels::cuda;

struct Pointers {
  int n;
  float* p;
};
void store(float* p, float v) { *p = v; }
void store_in(Pointers all, float v) { *all.p = v; }

// Device memory of one float, given back at the end.
struct Cell {
  float* p = static_cast<float*>(alloc(sizeof(float)));
  Cell() { sync(); }
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;
  ~Cell() {
    await_uploads();
    release(p, sizeof(float));
  }
  void put(float v) const { upload(p, &v, sizeof v); }
};

TEST(EmulatedUploads, ArriveWhenTheyAreAwaited) {
  const Cell cell;
  launch(store, dim3(1), dim3(1), 0, stream(), cell.p, 1.0F);
  uploads_follow();
  cell.put(2);
  EXPECT_EQ(*cell.p, 1);
  await_uploads();
  EXPECT_EQ(*cell.p, 2);
}

TEST(EmulatedUploads, IntoMemoryThatQueuedWorkMayUseFail) {
  const Cell cell, other;
  launch(store, dim3(1), dim3(1), 0, stream(), cell.p, 1.0F);
  EXPECT_THROW(cell.put(2), Error);
  other.put(2);  // which nobody uses
  uploads_follow();
  cell.put(2);
  await_uploads();

  launch(store_in, dim3(1), dim3(1), 0, stream(), Pointers{1, cell.p}, 1.0F);  // an address inside an argument
  EXPECT_THROW(cell.put(2), Error);
  sync();
  cell.put(2);
  await_uploads();

  transfer(other.p, cell.p, sizeof(float));  // read by a copy, and only read
  EXPECT_THROW(cell.put(3), Error);
  EXPECT_THROW(other.put(3), Error);
  void* behind = download(other.p, sizeof(float));
  launch(store, dim3(1), dim3(1), 0, stream(), other.p, 1.0F);
  collect(behind, nullptr);  // a wait for what came before it
  cell.put(3);
  EXPECT_THROW(other.put(3), Error);
}

TEST(EmulatedUploads, IntoFreshMemoryFailUntilTheHostHasWaited) {
  void* p = alloc(4);
  const float v = 1;
  EXPECT_THROW(upload(p, &v, 4), Error);
  sync();
  upload(p, &v, 4);
  await_uploads();
  release(p, 4);
}

TEST(EmulatedUploads, OfAReplayedStepCountAgain) {
  const Cell cell;
  capture_begin();
  launch(store, dim3(1), dim3(1), 0, stream(), cell.p, 1.0F);
  void* graph = capture_end();
  cell.put(2);  // nothing has run
  await_uploads();
  EXPECT_EQ(*cell.p, 2);
  replay(graph);
  EXPECT_THROW(cell.put(2), Error);
  drop_graph(graph);
}

TEST(EmulatedUploadsDeathTest, MemoryGivenBackBeforeItsUploadIsAwaited) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  void* p = alloc(4);
  sync();
  const float v = 1;
  upload(p, &v, 4);
  EXPECT_DEATH(release(p, 4), "before its upload was awaited");
  await_uploads();
  release(p, 4);
}

TEST(EmulatedDownloads, HoldWhatWasThereWhenTheyWereQueued) {
  const Cell cell;
  launch(store, dim3(1), dim3(1), 0, stream(), cell.p, 1.0F);
  void* first = download(cell.p, sizeof(float));
  launch(store, dim3(1), dim3(1), 0, stream(), cell.p, 2.0F);
  void* second = download(cell.p, sizeof(float));
  float got[2] = {};
  collect(second, &got[1]);
  collect(first, &got[0]);
  EXPECT_EQ(got[0], 1);
  EXPECT_EQ(got[1], 2);
}

TEST(EmulatedHost, WaitsAreCounted) {
  const Cell a, b;
  float v = 1;
  const auto waits = [](const auto& f) {
    const std::int64_t before = host_waits();
    f();
    return host_waits() - before;
  };
  EXPECT_EQ(waits([&] { transfer(a.p, &v, sizeof v); }), 1);
  EXPECT_EQ(waits([&] { transfer(&v, a.p, sizeof v); }), 1);
  EXPECT_EQ(waits([&] { transfer(a.p, b.p, sizeof v); }), 0);
  EXPECT_EQ(waits([&] { launch(store, dim3(1), dim3(1), 0, stream(), a.p, 1.0F); }), 0);
  EXPECT_EQ(waits([] { sync(); }), 1);
  EXPECT_EQ(waits([&] {
              a.put(1);
              await_uploads();
              uploads_follow();
            }),
            0);
  void* came = nullptr;
  EXPECT_EQ(waits([&] { came = download(a.p, sizeof v); }), 0);
  EXPECT_EQ(waits([&] { collect(came, &v); }), 1);
}

// Two steps more are two waits more, wherever the batches come from: what the first steps and the end wait for, both
// runs wait for.
TEST(EmulatedHost, WaitsOnceAStep) {
  const auto world = dist::make_self();
  for (const std::string residency : {"disk", "gpu"}) {
    SCOPED_TRACE(residency);
    const auto waits = [&](int steps) {
      const test::TempFolder folder;
      std::istringstream line("--pack " + test::made_data().train_pack + " --output " + (folder / "run") +
                              " --global-batch 8 --steps " + std::to_string(steps) + " --residency " + residency +
                              test::kSmallModel + " --device cuda");
      const std::int64_t before = host_waits();
      EXPECT_EQ(cli::run_pretrain(*world, {std::istream_iterator<std::string>(line), {}}), exit_ok);
      return host_waits() - before;
    };
    EXPECT_EQ(waits(6) - waits(4), 2);
  }
}

}  // namespace
}  // namespace spn::emulator
