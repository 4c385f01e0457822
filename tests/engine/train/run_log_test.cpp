// RUN_DIR's files: exact keys and their order, whole lines, cutting on resume, a second run refused; and the progress.
#include "engine/train/run_log.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/train/progress.h"
#include "tests/support/temp_folder.h"

namespace spn::train {
namespace {

using files::read_text;
using nlohmann::ordered_json;
using test::TempFolder;

Metrics made(std::int64_t step) {
  Metrics m;
  m.step = step, m.epoch = step / 10, m.pairs_seen = step * 128;
  m.loss = 1.0 / 3 + static_cast<double>(step), m.loss_spot = 1e-7 / 3, m.loss_niche = 2, m.loss_cross = 3;
  m.acc_spot = 0.125, m.lr = 5e-4 / 3, m.weight_decay = 0.04, m.grad_norm = 12.3456789012;
  m.step_s = 0.5, m.pairs_per_s = 256, m.mem_bytes = 123456789012;
  return m;
}

std::vector<ordered_json> lines_of(const std::string& path) {
  std::vector<ordered_json> v;
  std::istringstream in(read_text(path));
  for (std::string line; std::getline(in, line);) v.push_back(parse_ordered_json(line));
  return v;
}

std::vector<std::int64_t> steps_of(const std::string& path) {
  std::vector<std::int64_t> v;
  for (const auto& j : lines_of(path)) v.push_back(j["step"].get<std::int64_t>());
  return v;
}

TEST(RunLog, MetricsHaveTheDocumentedKeysInOrder) {
  const TempFolder run;
  {
    RunLog log(run / "a/b", true, -1, 10);
    log.metrics(made(1));
    // on disk at once, before anything is closed
    ASSERT_EQ(lines_of(run / "a/b/metrics.jsonl").size(), 1U);
  }
  const auto j = lines_of(run / "a/b/metrics.jsonl")[0];
  std::vector<std::string> keys;
  for (const auto& [key, value] : j.items()) keys.push_back(key);
  EXPECT_EQ(keys,
            (std::vector<std::string>{
                "step",     "epoch",     "pairs_seen", "loss",       "loss_spot",    "loss_niche",  "loss_cross",
                "acc_spot", "acc_niche", "acc_cross",  "lr",         "weight_decay", "grad_norm",   "pairs_per_s",
                "step_s",   "data_s",    "forward_s",  "backward_s", "comm_s",       "optimizer_s", "mem_bytes"}));
  const std::string text = read_text(run / "a/b/metrics.jsonl");
  EXPECT_NE(text.find("\"loss\":1.33333333,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"loss_spot\":3.33333333e-08,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"grad_norm\":12.3456789,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"mem_bytes\":123456789012}"), std::string::npos) << text;
}

TEST(RunLog, WhatIsNotFiniteIsNull) {
  const TempFolder run;
  RunLog log(run.path(), true, -1, 10);
  Metrics m = made(1);
  m.loss = std::numeric_limits<double>::quiet_NaN();
  m.grad_norm = std::numeric_limits<double>::infinity();
  log.metrics(m);
  EXPECT_TRUE(lines_of(run / "metrics.jsonl")[0]["loss"].is_null());
  EXPECT_TRUE(lines_of(run / "metrics.jsonl")[0]["grad_norm"].is_null());
}

TEST(RunLog, ResumeCutsLaterAndBrokenLines) {
  const TempFolder run;
  {
    RunLog log(run.path(), true, -1, 10);
    for (int s = 1; s <= 5; ++s) log.metrics(made(s));
  }
  std::ofstream(run / "metrics.jsonl", std::ios::app) << "{\"step\":2,\"ep";  // killed in the middle of a line
  {
    RunLog log(run.path(), true, 3, 10);
    EXPECT_EQ(steps_of(run / "metrics.jsonl"), (std::vector<std::int64_t>{1, 2, 3}));
    log.metrics(made(4));
  }
  EXPECT_EQ(steps_of(run / "metrics.jsonl"), (std::vector<std::int64_t>{1, 2, 3, 4}));
  { const RunLog log(run.path(), true, 4, 10); }
  EXPECT_EQ(steps_of(run / "metrics.jsonl"), (std::vector<std::int64_t>{1, 2, 3, 4}));
  { const RunLog log(run.path(), true, 0, 10); }
  EXPECT_TRUE(steps_of(run / "metrics.jsonl").empty());
}

TEST(RunLog, AFreshRunDoesNotMixWithAnother) {
  const TempFolder run;
  { RunLog(run.path(), true, -1, 10).metrics(made(1)); }
  try {
    const RunLog log(run.path(), true, -1, 10);
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("--resume auto"), std::string::npos);
  }
  EXPECT_EQ(steps_of(run / "metrics.jsonl").size(), 1U);
}

TEST(RunLog, EventsAndConfig) {
  const TempFolder run;
  RunLog log(run.path(), true, -1, 10);
  log.write_config("a = 1\n");
  log.write_config("a = 2\n");
  EXPECT_EQ(read_text(run / "config.cfg"), "a = 2\n");
  log.event("start", {{"version", std::string("0.1")}, {"ranks", std::int64_t{2}}, {"seconds", 0.5}});
  log.event("error", {{"message", std::string("bad bytes \xff \"here\"\n")}});
  const auto lines = lines_of(run / "events.jsonl");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["event"], "start");
  EXPECT_EQ(lines[0]["ranks"], 2);
  EXPECT_EQ(lines[0]["seconds"], 0.5);
  EXPECT_EQ(lines[0]["time"].get<std::string>().size(), 20U);
  EXPECT_EQ(lines[1]["event"], "error");
}

TEST(RunLog, AnErrorOfAnyRankIsWritten) {
  const TempFolder run;
  RunLog log(run.path(), true, -1, 10), other(run.path(), false, -1, 10);
  other.error(3, "bad bytes \xff");
  log.error(0, "here");
  const auto lines = lines_of(run / "events.jsonl");
  ASSERT_EQ(lines.size(), 2U);
  for (const auto& j : lines) {
    EXPECT_EQ(j["event"], "error");
    EXPECT_EQ(j["time"].get<std::string>().size(), 20U);
  }
  EXPECT_EQ(lines[0]["rank"], 3);
  EXPECT_EQ(lines[1]["rank"], 0);
  EXPECT_EQ(lines[1]["message"], "here");
}

TEST(RunLog, OtherRanksWriteNothing) {
  const TempFolder run;
  RunLog log(run / "none", false, -1, 10);
  log.write_config("x");
  log.metrics(made(1));
  log.event("start", {});
  EXPECT_FALSE(std::filesystem::exists(run / "none"));
}

TEST(RunLog, FullDisk) {
  const TempFolder run;
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    RunLog log(run.path(), true, -1, 100);
    try {
      for (int s = 1; s < 10; ++s) log.metrics(made(s));
    } catch (const Error& e) {
      log.event("error", {{"message", std::string(2000, 'x')}});  // warns
      _exit(e.kind() == ErrorKind::data && std::string(e.what()).find("metrics.jsonl") != std::string::npos ? 5 : 6);
    }
    _exit(7);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 5);
  // the line that did not fit is gone as a whole
  EXPECT_EQ(steps_of(run / "metrics.jsonl"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(lines_of(run / "events.jsonl").empty());
}

TEST(Progress, SaysWhatMattersAndWhen) {
  EXPECT_EQ(duration_text(12.4), "12 s");
  EXPECT_EQ(duration_text(245), "4:05");
  EXPECT_EQ(duration_text(3723), "1:02:03");
  EXPECT_EQ(progress_text(made(12), 300, 256, 144),
            "step 12/300  epoch 1  loss 12.3333 (spot 0.000, niche 2.000, cross 3.000)  256 pairs/s  left 2:24  mem "
            "114.98 GiB");
  Progress plain(false, 100);
  EXPECT_NE(plain.update(made(1), 50)->find("left ?"), std::string::npos);
  EXPECT_FALSE(plain.update(made(2), 50.5));
  EXPECT_FALSE(plain.update(made(3), 51));
  // half a second a step: 96 steps and 48 s are left
  EXPECT_NE(plain.update(made(4), 60.1).value_or("").find("step 4/100"), std::string::npos);
  EXPECT_TRUE(plain.update(made(100), 60.2));
  Progress terminal(true, 100);
  EXPECT_TRUE(terminal.update(made(1), 1));
  EXPECT_FALSE(terminal.update(made(2), 1.05));
  EXPECT_TRUE(terminal.update(made(3), 1.2));
  Progress steady(true, 100);
  (void)steady.update(made(1), 10);
  (void)steady.update(made(2), 10.5);
  EXPECT_NE(steady.update(made(4), 11)->find("256 pairs/s  left 48 s"), std::string::npos);
}

// The line is redrawn on a terminal, and an event begins on a new one.
TEST(Progress, OnATerminal) {
  const TempFolder run;
  int master = -1;
  const pid_t child = forkpty(&master, nullptr, nullptr, nullptr);
  if (child == 0) {
    RunLog log(run.path(), true, -1, 2);
    log.metrics(made(1));
    log.event("checkpoint", {});
    log.metrics(made(2));
    _exit(0);
  }
  ASSERT_GT(child, 0);
  std::string out;
  char block[4096];
  for (ssize_t n = 0; (n = ::read(master, block, sizeof block)) > 0;) out.append(block, static_cast<std::size_t>(n));
  int status = 0;
  waitpid(child, &status, 0);
  ::close(master);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  const std::size_t one = out.find("\rstep 1/2"), line = out.find("\x1b[K\r\n\rstep 2/2");
  EXPECT_NE(one, std::string::npos) << out;
  EXPECT_NE(line, std::string::npos) << out;
  EXPECT_TRUE(out.ends_with("\x1b[K\r\n")) << out;
}

}  // namespace
}  // namespace spn::train
