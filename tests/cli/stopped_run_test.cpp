// Runs that a signal, a kill or an error of one rank ends: what they leave, and that they go on as if they had not
// ended.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "engine/core/json.h"
#include "tests/support/cli_run.h"
#include "tests/support/started.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::checkpoint;
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

INSTANTIATE_TEST_SUITE_P(StoppedRun, Signal, testing::Values(Stop{1, SIGTERM}, Stop{1, SIGUSR1}, Stop{2, SIGUSR1}),
                         [](const auto& i) {
                           return fmt::format("{}On{}Ranks", i.param.signal == SIGTERM ? "Term" : "Usr1",
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
      "alpha 0.3 -> 0.5, augment-flips true -> false, base-lr 0.0005 -> 0.001, batch-norm sync -> local";
  EXPECT_NE(ran.text.find("other options than before: " + changed), std::string::npos) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], changed);
  // as before again, and what may change without a word
  const std::string same = "--alpha 0.5 --base-lr 1e-3 --batch-norm local --augment-flips=false ";
  ran = run_binary(args_of(run, "--steps 4 --checkpoint-every 1 --micro-batch 16 " + same));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(ran.text.find("other options than before"), std::string::npos) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "");
  // local statistics are taken over fewer pairs on more ranks, and over those of a part
  ran = run_binary(args_of(run, "--steps 5 --micro-batch 4 " + same));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "pairs in a batch statistic 16 -> 4");
  ran = run_binary(args_of(run, "--steps 6 " + same), on_ranks(2));
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(events_of(run, "resumed").back()["changed"], "pairs in a batch statistic 4 -> 8");
  const auto start = events_of(run, "start").back();
  EXPECT_EQ(start["hosts"].size(), 1U);
  EXPECT_EQ(start["devices"], nlohmann::json::array({"cpu"}));
  EXPECT_EQ(events_of(run, "resumed").back()["ranks"], 2);
}

}  // namespace
}  // namespace spn
