// encode that is killed, stopped or started twice: it goes on, and ends with the bytes of one that was left alone.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "data/pack/reader.h"
#include "tests/support/cli_run.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::copy_pack;
using test::encode_args;
using test::expect;
using test::on_ranks;
using test::run_binary;

// A ViT that takes a while.
const char* const kSlow = " --batch 2 --vit-width 192 --vit-depth 8 --vit-heads 3 --vit-mlp 768 --vit-patch 4";

// Absent features: -1.
std::int64_t blocks_done(const std::string& pack) {
  try {
    const data::PackReader reader(pack);
    const auto& info = reader.features(data::FeatureKind::niche_image);
    return info ? info->done : -1;
  } catch (const Error& e) {
    ADD_FAILURE() << "a pack in work must open: " << e.what();
    return -1;
  }
}

pid_t start(const std::string& pack, const std::string& log) {
  const std::string command =
      "exec '" + std::string(SPN_BINARY_DIR) + "/spotniche' " + encode_args(pack, kSlow) + " >'" + log + "' 2>&1";
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  return child;
}

class Stopped : public testing::TestWithParam<int> {};

TEST_P(Stopped, GoesOnAndEndsWithTheSameBytes) {
  const int signal = GetParam();
  const test::TempFolder folder;
  const std::string whole = copy_pack(folder, "whole.h5"), pack = copy_pack(folder, "stopped.h5"), log = folder / "log";
  ASSERT_EQ(run_binary(encode_args(whole, kSlow)).status, 0);
  std::int64_t before = 0;
  for (const std::int64_t until : {3, 11}) {
    const pid_t child = start(pack, log);
    ASSERT_GT(child, 0);
    for (int i = 0; i < 12000 && blocks_done(pack) < until; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(kill(child, signal), 0);
    int status = 0;
    waitpid(child, &status, 0);
    if (signal == SIGKILL) {
      EXPECT_TRUE(WIFSIGNALED(status)) << test::read_text(log);
    } else {
      ASSERT_TRUE(WIFEXITED(status)) << test::read_text(log);
      EXPECT_EQ(WEXITSTATUS(status), 75) << test::read_text(log);
      EXPECT_NE(test::read_text(log).find("rows left"), std::string::npos) << test::read_text(log);
    }
    const std::int64_t done = blocks_done(pack);
    EXPECT_GE(done, until);
    EXPECT_LT(done, 48) << "was stopped too late to show anything";
    EXPECT_GT(done, before);
    before = done;
    expect(run_binary("inspect '" + pack + "'"), 0, {"INCOMPLETE", fmt::format("{} of 48 blocks", done), "goes on"});
    expect(run_binary("inspect '" + pack + "' --verify"), 3, {"NOT WHOLE", "niche_image features incomplete"});
  }
  // another number of ranks goes on too
  const auto ran = run_binary(encode_args(pack, kSlow), on_ranks(2));
  expect(ran, 0, {fmt::format("{} of 48 blocks", before), "going on", "complete"});
  EXPECT_TRUE(test::read_text(pack) == test::read_text(whole));
}

INSTANTIATE_TEST_SUITE_P(EncodeStopped, Stopped, testing::Values(SIGKILL, SIGTERM, SIGUSR1));

TEST(EncodeStopped, TwoAtOnceAreRefused) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5"), log = folder / "log";
  const pid_t child = start(pack, log);
  ASSERT_GT(child, 0);
  for (int i = 0; i < 12000 && blocks_done(pack) < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_EQ(kill(child, SIGSTOP), 0);  // at work, however fast the machine is
  expect(run_binary(encode_args(pack, kSlow)), 3, {"another encode is at work on", "wait for it or stop it"});
  expect(
      run_binary(
          encode_args(pack, " --overwrite --seed 3" +
                                std::string(" --vit-width 16 --vit-depth 1 --vit-heads 2 --vit-mlp 32 --vit-patch 8")),
          on_ranks(2)),
      3, {"another encode is at work on"});
  EXPECT_LT(blocks_done(pack), 48) << "was done too early to show anything";
  ASSERT_EQ(kill(child, SIGCONT), 0);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << test::read_text(log);
  expect(run_binary("inspect '" + pack + "' --verify"), 0, {"random, seed 42", "whole"});
  EXPECT_FALSE(fs::exists(pack + ".lock"));
}

}  // namespace
}  // namespace spn
