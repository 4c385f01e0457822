// A disk that fills up at each stage of writing a pack: a data error, and nothing left.
#include "tests/support/full_disk.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/pack/reader.h"
#include "data/pack/writer.h"
#include "engine/core/check.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

using test::FileLimit;
using test::Tmpfs;

template <class F>
void expect_data_error(F&& f, const std::string& word) {
  try {
    f();
    ADD_FAILURE() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data) << e.what();
    EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
  }
}

TEST(FullDisk, ReservingTheSpaceFails) {
  test::TempFolder folder;
  const auto plan = test::plan_pack({500});
  expect_data_error(
      [&] {
        const FileLimit limit(100'000);
        test::write_pack(test::world(), folder / "a.h5", plan);
      },
      "large");
  EXPECT_TRUE(folder.files().empty());
}

TEST(FullDisk, WritingRowsFails) {
  test::TempFolder folder;
  const auto plan = test::plan_pack({500});
  expect_data_error(
      [&] {
        PackWriter writer(test::world(), folder / "a.h5", plan.header);
        const FileLimit limit(100'000);
        writer.write(0, test::made_rows(plan, 0, 500));
      },
      "/spots/");
  EXPECT_TRUE(folder.files().empty());
}

TEST(FullDisk, WritingNamesFails) {
  test::TempFolder folder;
  const auto plan = test::plan_pack({500});
  expect_data_error(
      [&] {
        PackWriter writer(test::world(), folder / "a.h5", plan.header);
        writer.write(0, test::made_rows(plan, 0, 500));
        const auto bytes = std::filesystem::file_size(folder / folder.files().at(0));
        const FileLimit limit(bytes + 4096);
        writer.finish(plan.slides, plan.genes);
      },
      "large");
  EXPECT_TRUE(folder.files().empty());
  // the library is still of use
  test::write_pack(test::world(), folder / "a.h5", plan);
  EXPECT_EQ(PackReader(folder / "a.h5").header().spots, 500);
}

TEST(FullDisk, ATmpfsThatIsTooSmallFromTheStart) {
  test::TempFolder folder;
  const Tmpfs disk(folder / "disk", "size=256k");
  if (!disk.mounted) GTEST_SKIP() << "a tmpfs cannot be mounted here: a full disk was not tried";
  const auto plan = test::plan_pack({2000});
  expect_data_error([&] { test::write_pack(test::world(), disk.path + "/a.h5", plan); }, "No space left");
  EXPECT_TRUE(std::filesystem::is_empty(disk.path));
}

TEST(FullDisk, ATmpfsThatFillsUpWithTheNames) {
  test::TempFolder folder;
  const Tmpfs disk(folder / "disk", "size=512k");
  if (!disk.mounted) GTEST_SKIP() << "a tmpfs cannot be mounted here: a full disk was not tried";
  const auto plan = test::plan_pack({500});
  auto rows = test::made_rows(plan, 0, 500);
  for (auto& name : rows.name) name += std::string(1000, 'x');
  expect_data_error(
      [&] {
        PackWriter writer(test::world(), disk.path + "/a.h5", plan.header);
        writer.write(0, rows);
        writer.finish(plan.slides, plan.genes);
      },
      "No space left");
  EXPECT_TRUE(std::filesystem::is_empty(disk.path));
}

}  // namespace
}  // namespace spn::data
