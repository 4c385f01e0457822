// A process that ends in the middle of a change leaves a pack that opens, before any step and after any.
#include "data/pack/commit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "data/h5/h5.h"
#include "data/pack/pack_lock.h"
#include "data/pack/reader.h"
#include "data/pack/temporary_file.h"
#include "data/pack/verify.h"
#include "engine/core/file.h"
#include "tests/support/errors.h"
#include "tests/support/full_disk.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNew = "/spots/other";

void make_change(const std::string& path) {
  h5::File f = h5::File::open_staged(path);
  f.make_dataset(kNew, h5::Type::f32, {20, 3000});
  f.set_text(kNew, "checksum", "abc");
  commit_pages(path, f.take_changes());
}

// Names of the steps of a change, in order.
std::vector<std::string> steps(const std::string& path) {
  std::vector<std::string> names;
  set_commit_hook([&](std::string_view step) { names.emplace_back(step); });
  make_change(path);
  set_commit_hook({});
  return names;
}

struct Made {
  test::TempFolder folder;
  std::string path = folder / "a.h5";
  Made() {
    auto plan = test::plan_pack({13, 7});
    plan.header.normalisation = "none";  // made values have another range
    test::write_pack(test::world(), path, plan);
  }
};

TEST(Commit, KilledAfterAnyStepThePackOpensAndTheNextRunGoesOn) {
  const Made original;
  const Made counted;
  const auto names = steps(counted.path);
  ASSERT_GE(names.size(), 6U);
  EXPECT_EQ(names.back(), "redo removed");
  int absent = 0, present = 0;
  for (std::size_t kill = 0; kill < names.size(); ++kill) {
    const test::TempFolder folder;
    const std::string path = folder / "a.h5";
    fs::copy_file(original.path, path);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::size_t at = 0;
      set_commit_hook([&](std::string_view) {
        if (at++ == kill) _exit(9);
      });
      make_change(path);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 9) << names[kill];
    const PackReader pack(path);
    EXPECT_TRUE(verify_pack(pack).empty()) << names[kill];
    EXPECT_EQ(pack.fingerprint(), PackReader(original.path).fingerprint());
    EXPECT_FALSE(fs::exists(path + ".redo")) << names[kill];
    const bool there = h5::File::open(path).has(kNew);
    (there ? present : absent) += 1;
    // all or none, and the change can be made after all
    if (!there) make_change(path);
    const h5::File file = h5::File::open(path);
    EXPECT_EQ(file.text(kNew, "checksum"), "abc");
    EXPECT_EQ(file.dataset(kNew).shape, (std::vector<std::int64_t>{20, 3000}));
    EXPECT_TRUE(verify_pack(PackReader(path)).empty()) << names[kill];
  }
  EXPECT_GE(absent, 2);
  EXPECT_GE(present, 2);
}

// Readers that open a pack again and again see it before or after a change, never between, and do not disturb it.
TEST(Commit, ReadersMeetAWriterAtWork) {
  const Made made;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    set_commit_hook([](std::string_view) { ::usleep(20'000); });
    for (int i = 0; i < 3; ++i) {
      h5::File f = h5::File::open_staged(made.path);
      f.write_all("/spots/other" + std::to_string(i), h5::Type::i32, {2}, std::vector<std::int32_t>{i, i}.data());
      commit_pages(made.path, f.take_changes());
    }
    _exit(0);
  }
  int status = 0, opened = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    EXPECT_EQ(PackReader(made.path).header().spots, 20);
    ++opened;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GE(opened, 1);  // how often is the scheduler's: locks are not handed out in turn
  EXPECT_FALSE(fs::exists(made.path + ".redo"));
  const h5::File file = h5::File::open(made.path);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(file.has("/spots/other" + std::to_string(i)));
}

TEST(Commit, AJournalOfAnotherFileIsRefused) {
  const Made made;
  const std::string kept = made.folder / "kept";
  set_commit_hook([&](std::string_view step) {
    if (step == "redo in place") fs::copy_file(made.path + ".redo", kept);
  });
  make_change(made.path);
  set_commit_hook({});
  // another pack under the old name
  const std::string other = made.folder / "b.h5";
  test::write_pack(test::world(), other, test::plan_pack({5, 5, 40}));
  fs::copy_file(kept, other + ".redo");
  const std::string before = test::read_text(other);
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { PackReader pack(other); }), "remove the .redo file"));
  EXPECT_EQ(test::read_text(other), before);
  fs::remove(other + ".redo");
  // one byte wrong
  std::string bytes = test::read_text(kept);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(other + ".redo", std::ios::binary) << bytes;
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { PackReader pack(other); }), "damaged"));
  std::ofstream(other + ".redo", std::ios::binary) << "spn";
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { PackReader pack(other); }), "damaged"));
}

TEST(Commit, FullDiskLeavesThePackAsItWas) {
  const Made made;
  const std::string before = test::read_text(made.path);
  {
    const test::FileLimit limit(before.size() + 10'000);
    test::error_of(ErrorKind::data, [&] { make_change(made.path); });
  }
  EXPECT_EQ(test::read_text(made.path), before);
  EXPECT_FALSE(fs::exists(made.path + ".redo"));
  make_change(made.path);
  EXPECT_TRUE(h5::File::open(made.path).has(kNew));
}

// The same where space cannot be reserved: pages that meet a full disk one by one would leave half a change.
TEST(Commit, FullDiskWithoutReservingLeavesThePackAsItWas) {
  const Made made;
  const std::string before = test::read_text(made.path);
  set_reserving(false);
  {
    const test::FileLimit limit(before.size() + 200'000);  // room for the journal, not for the change
    test::error_of(ErrorKind::data, [&] { make_change(made.path); });
  }
  EXPECT_TRUE(test::read_text(made.path) == before);
  EXPECT_FALSE(fs::exists(made.path + ".redo"));
  make_change(made.path);
  set_reserving(true);
  EXPECT_TRUE(h5::File::open(made.path).has(kNew));
  EXPECT_TRUE(verify_pack(PackReader(made.path)).empty());
}

TEST(Commit, AChangeOfWhatHasChangedMeanwhileIsRefused) {
  const Made made;
  h5::File slow = h5::File::open_staged(made.path);
  slow.make_dataset("/spots/mine", h5::Type::f32, {20, 30});
  ::usleep(20'000);  // file systems count time in ticks
  make_change(made.path);
  const std::string theirs = test::read_text(made.path);
  const h5::Pages pages = slow.take_changes();
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { commit_pages(made.path, pages); }), "another program"));
  EXPECT_TRUE(test::read_text(made.path) == theirs);
}

// On file systems without locks another rank may finish, and remove, what this one was about to read.
TEST(Commit, AJournalThatAnotherFinishedIsNotDamaged) {
  const Made made;
  std::string kept = made.folder / "kept";
  set_commit_hook([&](std::string_view step) {
    if (step == "redo in place") fs::copy_file(made.path + ".redo", kept);
  });
  make_change(made.path);
  fs::copy_file(kept, made.path + ".redo");
  int found = 0;
  set_commit_hook([&](std::string_view step) { found += step == "redo found" && fs::remove(made.path + ".redo"); });
  EXPECT_EQ(PackReader(made.path).header().spots, 20);
  set_commit_hook({});
  EXPECT_EQ(found, 1);
}

TEST(Commit, WaitsForOthersButNotForEver) {
  const Made made;
  const std::string before = test::read_text(made.path);
  const files::Fd notebook(::open(made.path.c_str(), O_RDONLY));
  ASSERT_EQ(::flock(notebook.get(), LOCK_SH), 0);
  EXPECT_EQ(PackReader(made.path).header().spots, 20);  // readers do not keep readers off
  set_lock_patience(std::chrono::milliseconds(150));
  testing::internal::CaptureStderr();
  const std::string message = test::error_of(ErrorKind::data, [&] { make_change(made.path); });
  EXPECT_TRUE(test::has(testing::internal::GetCapturedStderr(), "waiting for another program that has"));
  EXPECT_TRUE(test::has(message, "close it there")) << message;
  EXPECT_TRUE(test::read_text(made.path) == before);
  ASSERT_EQ(::flock(notebook.get(), LOCK_EX), 0);
  test::error_of(ErrorKind::data, [&] { PackReader pack(made.path); });
  ASSERT_EQ(::flock(notebook.get(), LOCK_UN), 0);
  set_lock_patience(std::chrono::seconds(60));
  make_change(made.path);
  EXPECT_TRUE(h5::File::open(made.path).has(kNew));
}

}  // namespace
}  // namespace spn::data
