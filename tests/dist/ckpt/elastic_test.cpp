// Checkpoints of several ranks: written by P, read by P'; one rank's failure fails all and leaves nothing.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "engine/ckpt/checkpoint.h"
#include "engine/ckpt/layout.h"
#include "tests/support/errors.h"
#include "tests/support/made_snapshot.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::ckpt {
namespace {

TEST(Elastic, AnyNumberOfRanksWritesAndReads) {
  dist::Comm& world = test::world();
  const test::TempFolder run(world);
  const Snapshot want = test::made_snapshot(5);
  for (int ranks = 1; ranks <= world.size(); ++ranks) {
    const std::string dir = run / std::to_string(ranks);
    const auto group = world.split(world.rank() < ranks ? 0 : 1);
    if (world.rank() < ranks) save(*group, dir, want, 0);
    world.barrier();
    // read by all ranks of the world
    const auto folder = find_latest(dir);
    ASSERT_TRUE(folder);
    const Loaded l = load(*folder);
    EXPECT_EQ(l.state.world_size, ranks);
    ASSERT_EQ(l.optimizer.size(), want.optimizer.size());
    for (const auto& [name, t] : want.optimizer)
      EXPECT_EQ(std::memcmp(l.optimizer.at(name).view().data, t.view().data, t.bytes()), 0) << name;
    ASSERT_EQ(l.model.size(), want.model.size());
    for (int r = 0; r < ranks; ++r) EXPECT_TRUE(std::filesystem::exists(*folder + "/" + optimizer_file(r, ranks)));
    world.barrier();
  }
}

TEST(Elastic, OneRanksFailureFailsAllAndLeavesNothing) {
  dist::Comm& world = test::world();
  const test::TempFolder run(world);
  save(world, run.path(), test::made_snapshot(1), 1);
  for (int bad = 0; bad < world.size(); ++bad) {
    if (world.rank() == bad)
      set_fault_hook([](std::string_view p) {
        if (p == "optimizer written") fail_data("test", "no room");
      });
    try {
      save(world, run.path(), test::made_snapshot(2), 1);
      ADD_FAILURE() << "expected a throw";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_NE(std::string(e.what()).find("no room"), std::string::npos) << e.what();
    }
    set_fault_hook(nullptr);
    world.barrier();
    EXPECT_FALSE(std::filesystem::exists(run / "checkpoints/step-00000002"));
    EXPECT_FALSE(std::filesystem::exists(run / "checkpoints/step-00000002.tmp"));
    EXPECT_EQ(find_latest(run.path()), run / "checkpoints/step-00000001");
    world.barrier();
  }
}

TEST(Elastic, AMissingShareIsNamed) {
  dist::Comm& world = test::world();
  const test::TempFolder run(world);
  const std::string folder = save(world, run.path(), test::made_snapshot(1), 1);
  const std::string last = optimizer_file(world.size() - 1, world.size());
  if (world.rank() == 0) std::filesystem::remove(folder + "/" + last);
  world.barrier();
  const auto problems = verify(folder);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_NE(problems[0].find(last + " is missing"), std::string::npos) << problems[0];
  EXPECT_TRUE(
      test::has(test::error_of(ErrorKind::data, [&] { find_latest(run.path()); }), "none of the 1 checkpoints"));
  world.barrier();
}

}  // namespace
}  // namespace spn::ckpt
