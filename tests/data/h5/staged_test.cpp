// Changes that stay in memory until somebody writes their pages.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/h5/h5.h"
#include "engine/core/check.h"
#include "tests/support/temp_folder.h"

namespace spn::data::h5 {
namespace {

const std::vector<float> kValues{1.5F, -2, 3, 4};

std::string make_file(const test::TempFolder& folder) {
  const std::string path = folder / "a.h5";
  File f = File::create(path);
  f.make_group("/g");
  f.write_all("/g/x", Type::f32, {2, 2}, kValues.data());
  f.set_text("/", "name", "before");
  f.close();
  return path;
}

TEST(Staged, NothingReachesTheDiskUntilThePagesAreWritten) {
  const test::TempFolder folder;
  const std::string path = make_file(folder), before = test::read_text(path);
  File f = File::open_staged(path);
  f.make_dataset("/g/large", Type::f32, {1000, 1000});
  const std::vector<std::uint8_t> marks(9000, 7);
  f.write_all("/g/marks", Type::u8, {9000}, marks.data());
  f.set_text("/g/large", "checksum", "abc");
  f.set_text("/", "name", "after");
  // what was staged is seen by its own file
  std::vector<std::uint8_t> again(9000);
  f.read_rows("/g/marks", Type::u8, again.data(), 0, 9000);
  EXPECT_EQ(again, marks);
  const Pages pages = f.take_changes();
  EXPECT_EQ(test::read_text(path), before);
  // the large dataset is reserved, not held in memory
  EXPECT_GE(pages.size, 4'000'000U);
  EXPECT_LT(pages.changed.size(), 20U);

  std::filesystem::resize_file(path, pages.size);
  std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
  for (const auto& [at, bytes] : pages.changed) {
    ASSERT_EQ(bytes.size(), Pages::kBytes);
    out.seekp(static_cast<std::streamoff>(at)).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  out.close();
  const File read = File::open(path);
  EXPECT_EQ(read.text("/", "name"), "after");
  EXPECT_EQ(read.text("/g/large", "checksum"), "abc");
  EXPECT_EQ(read.dataset("/g/large").shape, (std::vector<std::int64_t>{1000, 1000}));
  EXPECT_GT(read.dataset("/g/large").offset, 0);
  std::vector<float> x(4);
  read.read_rows("/g/x", Type::f32, x.data(), 0, 2);
  EXPECT_EQ(x, kValues);
  read.read_rows("/g/marks", Type::u8, again.data(), 0, 9000);
  EXPECT_EQ(again, marks);
}

TEST(Staged, RemovesAndMakesAnew) {
  const test::TempFolder folder;
  const std::string path = make_file(folder);
  File f = File::open_staged(path);
  f.remove("/g/x");
  EXPECT_FALSE(f.has("/g/x"));
  f.write_all("/g/x", Type::i32, {3}, std::vector<std::int32_t>{1, 2, 3}.data());
  EXPECT_EQ(f.dataset("/g/x").type, Type::i32);
  EXPECT_GT(f.take_changes().size, 0U);
  EXPECT_THROW(File::open(path).take_changes(), Error);
}

}  // namespace
}  // namespace spn::data::h5
