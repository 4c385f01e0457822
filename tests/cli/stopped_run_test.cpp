// Runs that a signal, a kill or an error of one rank ends: what they leave, and that they go on as if they had not
// ended.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/core/json.h"
#include "tests/support/cli_run.h"
#include "tests/support/started.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::checkpoint;
using test::expect;
using test::made_data;
using test::on_ranks;
using test::run_binary;
using test::Started;

std::string args_of(const std::string& run, const std::string& more, const std::string& pack = made_data().train_pack) {
  return "pretrain --pack '" + pack + "' --output '" + run + "' --global-batch 16" + test::kSmallModel + more;
}

// Whole lines of metrics.jsonl: the last one may be in the making.
std::size_t steps_of(const std::string& run) {
  if (!fs::exists(run + "/metrics.jsonl")) return 0;
  const std::string text = test::read_text(run + "/metrics.jsonl");
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<nlohmann::json> events_of(const std::string& run, const std::string& kind) {
  std::istringstream in(test::read_text(run + "/events.jsonl"));
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(in, line);)
    if (auto j = parse_json(line); j["event"] == kind) events.push_back(std::move(j));
  return events;
}

struct Stop {
  int ranks, signal;
};
class Signal : public testing::TestWithParam<Stop> {};

TEST_P(Signal, SavesAndExits75ThenGoesOn) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  const int ranks = GetParam().ranks;
  Started training(on_ranks(ranks), {args_of(run, "--steps 100000")});
  ASSERT_TRUE(training.until([&] { return steps_of(run) >= 3; })) << test::read_text(training.log_path());
  EXPECT_EQ(kill(training.pid(), GetParam().signal), 0);  // to mpirun, which hands it to its ranks
  EXPECT_EQ(training.wait(), 75) << test::read_text(training.log_path());
  const auto lines = test::read_metrics(run);
  ASSERT_GE(lines.size(), 3u);
  const int at = static_cast<int>(lines.back().at("step"));
  EXPECT_TRUE(fs::exists(checkpoint(run, at)));
  EXPECT_EQ(events_of(run, "signal").size(), 1U);
  const auto ran = run_binary(args_of(run, "--steps " + std::to_string(at + 1)), on_ranks(ranks));
  EXPECT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(test::read_metrics(run).size(), static_cast<std::size_t>(at + 1));
}

INSTANTIATE_TEST_SUITE_P(StoppedRun, Signal,
                         testing::Values(Stop{1, SIGTERM}, Stop{1, SIGINT}, Stop{1, SIGUSR1}, Stop{2, SIGUSR1}),
                         [](const auto& i) {
                           return fmt::format("{}On{}Ranks",
                                              i.param.signal == SIGTERM  ? "Term"
                                              : i.param.signal == SIGINT ? "Int"
                                                                         : "Usr1",
                                              i.param.ranks);
                         });

TEST(StoppedRun, KilledOnTwoRanksItGoesOnBitForBit) {
  const test::TempFolder folder;
  const std::string straight = folder / "straight", killed = folder / "killed";
  constexpr int kSteps = 40;
  const std::string more = fmt::format("--steps {} --checkpoint-every 8", kSteps);
  auto ran = run_binary(args_of(straight, more), on_ranks(2));
  ASSERT_EQ(ran.status, 0) << ran.text;
  {
    Started training(on_ranks(2), {args_of(killed, more)});
    ASSERT_TRUE(training.until([&] { return steps_of(killed) >= 12; })) << test::read_text(training.log_path());
    training.signal_ranks(SIGKILL);
    EXPECT_NE(training.wait(), 0);
  }
  ASSERT_FALSE(fs::exists(checkpoint(killed, kSteps))) << "it ended before it was killed";
  ran = run_binary(args_of(killed, more), on_ranks(2));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("resuming from"), std::string::npos) << ran.text;
  const auto want = test::read_metrics(straight), got = test::read_metrics(killed);
  ASSERT_EQ(want.size(), static_cast<std::size_t>(kSteps));
  ASSERT_EQ(got.size(), want.size()) << "no step twice, none missing";
  for (std::size_t i = 0; i < want.size(); ++i)
    for (const char* key : {"step", "loss", "loss_spot", "loss_niche", "loss_cross", "acc_cross", "grad_norm", "lr"})
      ASSERT_EQ(got[i].at(key), want[i].at(key)) << "step " << i + 1 << " " << key;
  for (const char* file : {"/model.safetensors", "/optimizer-0-of-2.safetensors", "/optimizer-1-of-2.safetensors"})
    EXPECT_EQ(test::read_text(checkpoint(killed, kSteps) + file), test::read_text(checkpoint(straight, kSteps) + file));
}

TEST(StoppedRun, AnErrorOfOneRankAloneStandsInTheEvents) {
  const test::TempFolder folder;
  const std::string run = folder / "run", copy = folder / "copy.h5";
  fs::copy(made_data().train_pack, copy);
  // rank 1 reads a copy of the pack, which loses its end while it trains
  std::string one = on_ranks(2);
  one.replace(one.find("-np 2"), 5, "-np 1");
  Started training(one, {args_of(run, "--steps 100000"), args_of(run, "--steps 100000", copy)});
  ASSERT_TRUE(training.until([&] { return steps_of(run) >= 3; })) << test::read_text(training.log_path());
  EXPECT_TRUE(events_of(run, "error").empty());
  fs::resize_file(copy, fs::file_size(copy) / 4);
  EXPECT_EQ(training.wait(), 3) << test::read_text(training.log_path());
  const auto errors = events_of(run, "error");
  ASSERT_EQ(errors.size(), 1U) << test::read_text(run + "/events.jsonl");
  EXPECT_EQ(errors[0]["rank"], 1);
  EXPECT_NE(errors[0]["message"].get<std::string>().find("copy.h5"), std::string::npos) << errors[0];
}

// What a checkpoint was trained with, and what a resume asks for.
TEST(StoppedRun, AnotherModelIsRefusedAndOtherOptionsAreSaid) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  ASSERT_EQ(run_binary(args_of(run, "--steps 2")).status, 0);
  const std::string config = test::read_text(run + "/config.cfg");
  struct Case {
    const char *option, *then, *now;
  };
  // the tensors have the same shapes with all of these
  for (const Case& c : {Case{"vit-heads", "2", "4"}, Case{"fusion-heads", "2", "4"}, Case{"dropout", "0.1", "0.25"},
                        Case{"temperature", "0.1", "0.07"}}) {
    const auto ran = run_binary(args_of(run, fmt::format("--steps 3 --{} {}", c.option, c.now)));
    EXPECT_EQ(ran.status, 2) << ran.text;
    for (const std::string& word : {fmt::format("--{} {}, got {}", c.option, c.then, c.now), std::string("--init")})
      EXPECT_NE(ran.text.find(word), std::string::npos) << "no '" << word << "' in\n" << ran.text;
  }
  EXPECT_EQ(test::read_text(run + "/config.cfg"), config) << "a refused resume leaves the run as it was";
  ASSERT_EQ(test::read_metrics(run).size(), 2U);

  auto ran = run_binary(
      args_of(run, "--steps 3 --alpha 0.5 --base-lr 1e-3 --batch-norm local --augment-flips=false --prefetch 2"));
  ASSERT_EQ(ran.status, 0) << ran.text;
  const std::string changed =
      "alpha 0.3 -> 0.5, augment-flips true -> false, base-lr 0.0005 -> 0.001, batch-norm sync -> local, steps 2 -> 3";
  EXPECT_NE(ran.text.find("other options than before: " + changed), std::string::npos) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], changed);
  // as before again, and what may change without a word
  const std::string same = "--alpha 0.5 --base-lr 1e-3 --batch-norm local --augment-flips=false ";
  ran = run_binary(args_of(run, "--steps 3 --checkpoint-every 1 --micro-batch 16 " + same));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("nothing left to do"), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find("other options than before"), std::string::npos) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "");
  // local statistics are taken over fewer pairs on more ranks, and over those of a part
  ran = run_binary(args_of(run, "--steps 5 --micro-batch 4 " + same));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "pairs in a batch statistic 16 -> 4, steps 3 -> 5");
  ran = run_binary(args_of(run, "--steps 6 " + same), on_ranks(2));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "pairs in a batch statistic 4 -> 8, steps 5 -> 6");
  const auto start = events_of(run, "start").back();
  EXPECT_EQ(start["hosts"].size(), 1U);
  EXPECT_EQ(start["devices"], nlohmann::json::array({"cpu"}));
  EXPECT_EQ(events_of(run, "resumed").back()["ranks"], 2);
}

// Nothing of a run changes where it cannot go on.
TEST(StoppedRun, WhatCannotGoOnLeavesTheRunAsItWas) {
  const test::TempFolder folder;
  const std::string run = folder / "run", other = folder / "other";
  ASSERT_EQ(run_binary(args_of(run, "--steps 4 --checkpoint-every 2")).status, 0);
  ASSERT_EQ(run_binary(args_of(other, "--steps 2 --seed 7")).status, 0);
  const auto files = [&] {
    std::string all;
    for (const char* name : {"/config.cfg", "/metrics.jsonl", "/checkpoints/latest"})
      all += test::read_text(run + name);
    return all;
  };
  const std::string before = files();
  const std::string of_other = " --resume '" + checkpoint(other, 2) + "' --seed 7";
  expect(run_binary(args_of(run, "--steps 3")), 2, {"--steps: expected more than 4", "got 3"});
  expect(run_binary(args_of(run, "--steps 8 --micro-batch 5")), 2, {"--micro-batch", "got 5"});
  expect(run_binary(args_of(run, "--steps 8 --max-negatives 3")), 2, {"max-negatives"});
  expect(run_binary(args_of(run, "--steps 8 --alpha 0.8 --beta 0.5")), 2, {"--alpha", "0.8 and 0.5"});
  expect(run_binary(args_of(run, "--steps 8" + of_other)), 2, {"holds a run already"});
  expect(run_binary(args_of(folder / "new", "--steps 2" + of_other)), 2, {"--steps: expected more than 2"});
  EXPECT_FALSE(fs::exists(folder / "new"));
  for (int again = 0; again < 2; ++again)  // as a scheduler does, into what the first left
    expect(run_binary(args_of(folder / "onward", "--steps 4" + of_other)), 0, {"resuming from"});
  EXPECT_EQ(test::read_metrics(folder / "onward").size(), 2U);
  expect(run_binary(args_of(run, "--steps 8 --resume " + std::string(300, 'x'))), 3, {"no such folder"});
  EXPECT_EQ(files(), before);

  for (const int step : {2, 4}) fs::resize_file(checkpoint(run, step) + "/model.safetensors", 100);
  expect(run_binary(args_of(run, "--steps 8")), 3, {"is passed over", "none of the 2 checkpoints"});
  EXPECT_EQ(files(), before);
}

TEST(StoppedRun, TwoAtOnceAreRefused) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  Started training("", {args_of(run, "--steps 100000 --checkpoint-every 2")});
  ASSERT_TRUE(training.until([&] { return steps_of(run) >= 3; })) << test::read_text(training.log_path());
  expect(run_binary(args_of(run, "--steps 100000")), 3, {"another pretrain is at work on", "run"});
  EXPECT_EQ(kill(training.pid(), SIGKILL), 0);
  EXPECT_EQ(training.wait(), -1);
  // a kill leaves the file, not the lock
  const auto ran = run_binary(args_of(run, "--steps 40"));
  EXPECT_EQ(ran.status, 0) << ran.text;
  const auto lines = test::read_metrics(run);
  for (std::size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i].at("step"), static_cast<double>(i + 1));
  EXPECT_FALSE(fs::exists(run + "/run.lock"));
}

TEST(StoppedRun, LinesThatAreLostOrBrokenAreTold) {
  const test::TempFolder folder;
  const std::string run = folder / "run", metrics = run + "/metrics.jsonl", events = run + "/events.jsonl";
  ASSERT_EQ(run_binary(args_of(run, "--steps 4")).status, 0);
  // step 2 lost, step 4 in half; the last event in half
  std::istringstream lines(test::read_text(metrics));
  std::string one, two, three, four;
  for (std::string* line : {&one, &two, &three, &four}) std::getline(lines, *line);
  std::ofstream(metrics) << one << "\n" << three << "\n" << four.substr(0, 20);
  fs::resize_file(events, fs::file_size(events) - 10);
  expect(run_binary(args_of(run, "--steps 5")), 0,
         {"2 of the steps up to 4 have no line", "1 broken lines are taken out", "its last line was broken"});
  EXPECT_EQ(test::read_metrics(run).size(), 3U);
  EXPECT_EQ(events_of(run, "resumed").size(), 1U);
  expect(run_binary("inspect '" + run + "' --verify"), 0, {"whole"});
}

TEST(StoppedRun, ARunThatHasDivergedEndsAndKeepsItsGoodCheckpoints) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  expect(run_binary(args_of(run, "--steps 2 --checkpoint-every 1")), 0, {});
  expect(run_binary(args_of(run,
                            "--steps 60 --checkpoint-every 1 --keep-checkpoints 2 --warmup-steps 0 "
                            "--warmup-epochs 0 --base-lr 1e30")),
         1, {"the run has diverged", "20 steps in a row"});
  EXPECT_LT(test::read_metrics(run).size(), 30U);
  EXPECT_TRUE(fs::exists(checkpoint(run, 2)));
  EXPECT_EQ(events_of(run, "error").size(), 1U);
}

// A service or a cron job may close them: what is printed must not run into the next file that is opened.
TEST(StoppedRun, ClosedOutputsAndLostReaders) {
  const test::TempFolder folder;
  const std::string run = folder / "run", binary = std::string(SPN_BINARY_DIR) + "/spotniche";
  const auto shell = [](const std::string& command) {
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  ASSERT_EQ(shell("'" + binary + "' " + args_of(run, "--steps 2") + " <&- >&- 2>&-"), 0);
  EXPECT_EQ(test::read_metrics(run).size(), 2U);
  expect(run_binary("inspect '" + run + "' --verify"), 0, {"whole"});
  ASSERT_EQ(shell("{ '" + binary + "' " + args_of(folder / "pipe", "--steps 20") + " 2>&1; echo $? >'" +
                  (folder / "status") + "'; } | head -1 >/dev/null"),
            0);
  EXPECT_EQ(test::read_text(folder / "status"), "0\n");
  EXPECT_EQ(test::read_metrics(folder / "pipe").size(), 20U);
  EXPECT_EQ(shell("'" + binary + "' inspect '" + run + "' >/dev/full 2>/dev/null"), 1);
}

}  // namespace
}  // namespace spn
