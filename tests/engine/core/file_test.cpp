// Durable files: what is read and written, what a failure says and leaves behind.
#include "engine/core/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tests/support/errors.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

namespace spn::files {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::has;
using test::TempFolder;

TEST(File, IsWrittenAndReadAtPositions) {
  const TempFolder folder;
  const std::string path = folder / "a";
  FileWriter writer(path);
  writer.write("hello ");
  writer.write("world");
  writer.finish();
  EXPECT_EQ(read_text(path), "hello world");
  const Fd fd = open_file(path, O_RDWR);
  write_at(fd, path, "W", 1, 6);
  write_at(fd, path, "!!", 2, 11);
  sync(fd, path);
  sync_file(path);
  const FileReader reader(path);
  EXPECT_EQ(reader.size(), 13U);
  std::string part(5, '\0');
  reader.read(part.data(), 5, 6);
  EXPECT_EQ(part, "World");
  EXPECT_EQ(read_at(fd, path, part.data(), 5, 10), 3U);  // the file ends there
  EXPECT_EQ(part.substr(0, 3), "d!!");
  EXPECT_EQ(read_at(fd, path, part.data(), 5, 100), 0U);
  FileWriter(path).finish();
  EXPECT_EQ(read_text(path), "");
}

TEST(File, WhatCannotBeReadIsNamed) {
  const TempFolder folder;
  const std::string path = folder.put("short", "abc");
  char to[8];
  const std::string truncated = error_of(ErrorKind::data, [&] { FileReader(path).read(to, 8, 1); });
  EXPECT_TRUE(has(truncated, path + ": ends at byte 3, 6 more expected; it is truncated")) << truncated;
  const std::string none = error_of(ErrorKind::data, [&] { read_text(folder / "none"); });
  EXPECT_TRUE(has(none, "cannot open " + (folder / "none") + ": No such file")) << none;
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { read_text(folder.path()); }), "expected a file, got a folder"));
  const std::string no_folder = error_of(ErrorKind::data, [&] { FileWriter(folder / "no/where"); });
  EXPECT_TRUE(has(no_folder, "cannot create")) << no_folder;
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { sync_folder(folder / "no"); }), "cannot open"));
}

// The callbacks that use these cannot throw.
TEST(File, TryingLeavesTheReasonInErrno) {
  const TempFolder folder;
  char byte = 0;
  errno = 0;
  EXPECT_EQ(try_read_at(-1, &byte, 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
  errno = 0;
  EXPECT_FALSE(try_write_at(-1, &byte, 1, 0));
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(try_read_at(-1, nullptr, 0, 0), 0);
  EXPECT_TRUE(try_write_at(-1, nullptr, 0, 0));
}

TEST(File, ErrorsSayWhatToDo) {
  const auto told = [](int error) { return error_of(ErrorKind::data, [&] { fail_errno("write", "/x/y", error); }); };
  for (const int full : {ENOSPC, EDQUOT, EFBIG}) EXPECT_TRUE(has(told(full), "free some space")) << told(full);
  for (const int refused : {EACCES, EROFS}) EXPECT_TRUE(has(told(refused), "permissions")) << told(refused);
  EXPECT_EQ(told(EIO), "[file] cannot write /x/y: Input/output error");
}

TEST(File, FullDiskLeavesTheOldTextAndNothingElse) {
  const TempFolder folder;
  const std::string path = folder.put("a", "old");
  {
    const test::FileLimit limit(1000);
    const std::string text(2000, 'x');
    const std::string what = error_of(ErrorKind::data, [&] { replace_text(path, text); });
    EXPECT_TRUE(has(what, path + ".tmp") && has(what, "free some space")) << what;
    const Fd fd = open_file(path, O_RDWR);
    EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { write_all(fd, path, text.data(), 2000); }), "free some space"));
    EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { write_at(fd, path, "x", 1, 5000); }), "free some space"));
    ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
    write_at(fd, path, "old", 3, 0);
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
  replace_text(path, "new");
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
}

TEST(File, FoldersAreReplacedAsAWhole) {
  const TempFolder folder;
  const std::string aside = folder / "aside", final = folder / "final";
  folder.put("aside/first", "1");
  replace_folder(aside, final, [] { FAIL() << "there was nothing to exchange"; });
  EXPECT_EQ(read_text(final + "/first"), "1");
  folder.put("aside/second", "2");
  int called = 0;
  replace_folder(aside, final, [&] {
    ++called;
    EXPECT_EQ(read_text(final + "/second"), "2");
    EXPECT_EQ(folder.files().size(), 2U);  // the old one is still there
  });
  EXPECT_EQ(called, 1);
  EXPECT_FALSE(fs::exists(final + "/first"));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"final"});
  remove_folder(final);
  remove_folder(final);  // gone already
  EXPECT_TRUE(folder.files().empty());
  const std::string what = error_of(ErrorKind::data, [&] { rename_durably(aside, final); });
  EXPECT_TRUE(has(what, "cannot rename " + aside + " to " + final)) << what;
}

TEST(File, ParentOf) {
  EXPECT_EQ(parent_of("/a/b.h5"), "/a");
  EXPECT_EQ(parent_of("a/b.h5"), "a");
  EXPECT_EQ(parent_of("b.h5"), ".");
}

}  // namespace
}  // namespace spn::files
