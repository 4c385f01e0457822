// Checkpoints on one rank: round trip, kills and failures at every step of a save, a full disk, damage, keeping K.
#include "engine/ckpt/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "engine/ckpt/layout.h"
#include "tests/support/made_snapshot.h"
#include "tests/support/temp_folder.h"

namespace spn::ckpt {
namespace {

namespace fs = std::filesystem;
using test::made_snapshot;
using test::TempFolder;

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> s;
  for (const auto& e : fs::directory_iterator(folder)) s.insert(e.path().filename().string());
  return s;
}

void expect_holds(const std::string& folder, const Snapshot& want) {
  const Loaded l = load(folder);
  EXPECT_EQ(l.state.step, want.state.step);
  EXPECT_EQ(l.state.epoch, want.state.epoch);
  EXPECT_EQ(l.state.pairs_seen, want.state.pairs_seen);
  EXPECT_EQ(l.state.seed, want.state.seed);
  EXPECT_EQ(l.state.world_size, 1);
  EXPECT_EQ(l.state.global_batch, want.state.global_batch);
  EXPECT_EQ(l.state.pack_fingerprint, want.state.pack_fingerprint);
  EXPECT_EQ(l.state.spotniche_version, want.state.spotniche_version);
  EXPECT_EQ(l.state.extra, want.state.extra);
  EXPECT_EQ(l.config_json, want.config_json);
  const auto same = [](const std::map<std::string, Tensor>& got, const std::vector<NamedTensor>& all) {
    ASSERT_EQ(got.size(), all.size());
    for (const auto& [name, t] : all) {
      ASSERT_EQ(got.count(name), 1U) << name;
      ASSERT_EQ(got.at(name).bytes(), t.bytes());
      EXPECT_EQ(std::memcmp(got.at(name).view().data, t.view().data, t.bytes()), 0) << name;
    }
  };
  same(l.model, want.model);
  same(l.ema, want.ema);
  same(l.optimizer, want.optimizer);
}

std::string save_alone(const std::string& run, std::int64_t step, int keep = 0) {
  return save(*dist::make_self(), run, made_snapshot(step), keep);
}

// The names of all steps of a save, as a save that replaces and removes others goes through them.
std::vector<std::string> fault_points() {
  const TempFolder run;
  save_alone(run.path(), 1);
  save_alone(run.path(), 2);
  std::vector<std::string> points;
  set_fault_hook([&](std::string_view p) { points.emplace_back(p); });
  save_alone(run.path(), 2, 1);
  set_fault_hook(nullptr);
  return points;
}

TEST(Checkpoint, RoundTripAndLayout) {
  const TempFolder run;
  const std::string folder = save_alone(run / "deep/run", 1000);
  EXPECT_EQ(folder, run / "deep/run/checkpoints/step-00001000");
  EXPECT_EQ(names_in(folder), (std::set<std::string>{"config.json", "ema.safetensors", "model.safetensors",
                                                     "optimizer-0-of-1.safetensors", "state.json"}));
  EXPECT_EQ(names_in(run / "deep/run/checkpoints"), (std::set<std::string>{"latest", "step-00001000"}));
  EXPECT_EQ(test::read_text(run / "deep/run/checkpoints/latest"), "step-00001000\n");
  EXPECT_TRUE(verify(folder).empty());
  EXPECT_EQ(find_latest(run / "deep/run"), folder);
  EXPECT_FALSE(find_latest(run / "elsewhere"));
  expect_holds(folder, made_snapshot(1000));
}

TEST(Checkpoint, WithoutAveragedWeightsThereIsNoFile) {
  const TempFolder run;
  Snapshot s = made_snapshot(3);
  s.ema.clear();
  const std::string folder = save(*dist::make_self(), run.path(), s, 0);
  EXPECT_EQ(names_in(folder).count("ema.safetensors"), 0U);
  EXPECT_TRUE(verify(folder).empty());
  expect_holds(folder, s);
}

TEST(Checkpoint, FaultPointsAreAllReached) {
  EXPECT_EQ(fault_points(), (std::vector<std::string>{"folder made", "optimizer written", "model written",
                                                      "ema written", "config written", "state written", "exchanged",
                                                      "renamed", "latest replaced", "older renamed"}));
}

// A kill leaves a whole checkpoint to go on from, and the next save cleans up. Both for the first save of a run and for
// one that follows others, and for one that replaces the checkpoint of the same step.
TEST(Checkpoint, KilledBetweenAnyTwoSteps) {
  for (const std::string& point : fault_points()) {
    for (const int before : {0, 2}) {
      for (const int step : {2, 3}) {
        const TempFolder run;
        for (int s = 1; s <= before; ++s) save_alone(run.path(), s);
        const pid_t child = fork();
        if (child == 0) {
          set_fault_hook([&](std::string_view p) {
            if (p == point) _exit(9);
          });
          save_alone(run.path(), step, 1);
          _exit(0);
        }
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        const bool killed = WEXITSTATUS(status) == 9;
        const auto found = find_latest(run.path());
        const std::string context = fmt::format("{} after {} saves, at step {}", point, before, step);
        if (before > 0) {
          ASSERT_TRUE(found) << context;
          const std::int64_t got = *step_of(fs::path(*found).filename().string());
          EXPECT_TRUE(got == before || got == step) << context << ": " << *found;
          expect_holds(*found, made_snapshot(got));
        } else {
          EXPECT_EQ(found.has_value(), !killed || point == "renamed" || point == "latest replaced") << context;
        }
        save_alone(run.path(), 9, 1);
        EXPECT_EQ(names_in(run / "checkpoints"), (std::set<std::string>{"latest", "step-00000009"})) << context;
      }
    }
  }
}

TEST(Checkpoint, FailureAtAnyStepLeavesNothingHalfWritten) {
  for (const std::string& point : fault_points()) {
    const TempFolder run;
    save_alone(run.path(), 1);
    save_alone(run.path(), 2);
    set_fault_hook([&](std::string_view p) {
      if (p == point) fail_data("test", "no more room at '{}'", p);
    });
    EXPECT_THROW(save_alone(run.path(), 2, 1), Error) << point;
    set_fault_hook(nullptr);
    for (const auto& name : names_in(run / "checkpoints")) {
      EXPECT_FALSE(name.ends_with(".tmp")) << point << ": " << name;
      if (step_of(name)) {
        EXPECT_TRUE(verify(run / "checkpoints/" + name).empty()) << point << ": " << name;
      }
    }
    ASSERT_TRUE(find_latest(run.path())) << point;
    expect_holds(*find_latest(run.path()), made_snapshot(2));
  }
}

// A limit on file sizes stands for a full disk: write() fails half-way through a file.
TEST(Checkpoint, FullDisk) {
  const TempFolder run;
  save_alone(run.path(), 1);
  for (const rlim_t room : {0, 100, 1500, 2500}) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{room, room};
      setrlimit(RLIMIT_FSIZE, &limit);
      try {
        save_alone(run.path(), 2, 1);
      } catch (const Error& e) {
        const std::string what = e.what();
        _exit(e.kind() == ErrorKind::data && what.find("step-00000002.tmp/") != std::string::npos &&
                      what.find("free some space") != std::string::npos
                  ? 5
                  : 6);
      }
      _exit(7);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 5) << room;
    EXPECT_EQ(names_in(run / "checkpoints"), (std::set<std::string>{"latest", "step-00000001"}));
    EXPECT_EQ(find_latest(run.path()), run / "checkpoints/step-00000001");
  }
}

TEST(Checkpoint, DamageIsFoundNamedAndPassedOver) {
  const char* files[] = {"model.safetensors", "ema.safetensors", "config.json", "optimizer-0-of-1.safetensors",
                         "state.json"};
  for (const std::string file : files) {
    for (const std::string damage : {"truncated", "flipped", "longer", "missing"}) {
      const TempFolder run;
      const std::string old = save_alone(run.path(), 1), folder = save_alone(run.path(), 2), path = folder + "/" + file;
      if (damage == "truncated") test::truncate_file(path);
      if (damage == "longer") std::ofstream(path, std::ios::app) << "x";
      if (damage == "missing") fs::remove(path);
      if (damage == "flipped") test::flip_bit(path, fs::file_size(path) / 2);
      // the line break that ends state.json means nothing, and neither does more after it: no JSON then
      const bool harmless = file == "state.json" && damage == "truncated";
      EXPECT_EQ(verify(folder).empty(), harmless) << file << " " << damage;
      if (harmless) continue;
      EXPECT_NE(verify(folder)[0].find(file), std::string::npos) << verify(folder)[0];
      try {
        load(folder);
        FAIL() << "expected a throw: " << file << " " << damage;
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        EXPECT_NE(std::string(e.what()).find(file), std::string::npos) << e.what();
      }
      EXPECT_EQ(find_latest(run.path()), old) << file << " " << damage;
    }
  }
}

TEST(Checkpoint, EveryBitOfTheStateCounts) {
  const TempFolder run;
  const std::string path = save_alone(run.path(), 1) + "/state.json", text = test::read_text(path);
  int harmless = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string flipped = text;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    try {
      parse_state(path, flipped);
      ++harmless;
      EXPECT_TRUE(std::isspace(static_cast<unsigned char>(text[i]))) << i << " " << text.substr(i, 10);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
    }
  }
  EXPECT_LT(harmless, 5);
}

TEST(Checkpoint, KeepsTheLastAndFollowsLatest) {
  const TempFolder run;
  for (const int step : {1, 2, 3, 4}) save_alone(run.path(), step, 2);
  EXPECT_EQ(names_in(run / "checkpoints"), (std::set<std::string>{"latest", "step-00000003", "step-00000004"}));
  // a run that went back to step 3 and saves it again: `latest` is 3, though 4 is still there
  save_alone(run.path(), 3, 2);
  EXPECT_EQ(find_latest(run.path()), run / "checkpoints/step-00000003");
  std::ofstream(run / "checkpoints/latest") << "../../etc\n";
  EXPECT_EQ(find_latest(run.path()), run / "checkpoints/step-00000004");
  fs::remove(run / "checkpoints/latest");
  EXPECT_EQ(find_latest(run.path()), run / "checkpoints/step-00000004");
}

TEST(Layout, NamesAndDealing) {
  EXPECT_EQ(folder_name(1000), "step-00001000");
  EXPECT_EQ(step_of("step-00001000"), 1000);
  EXPECT_EQ(step_of("step-123456789"), 123456789);
  for (const char* no : {"step-1000", "step-00001000.tmp", "latest", "step-0000100x", "step-"})
    EXPECT_FALSE(step_of(no));
  const auto s = made_snapshot(1);
  for (const int ranks : {1, 2, 3, 8}) {
    const auto owner = deal(s.optimizer, ranks);
    std::vector<std::size_t> load(static_cast<std::size_t>(ranks));
    for (std::size_t i = 0; i < owner.size(); ++i)
      load[static_cast<std::size_t>(owner[i])] += s.optimizer[i].tensor.bytes();
    // no rank has more than its even share and the largest tensor
    std::size_t all = 0;
    for (const std::size_t l : load) all += l;
    for (const std::size_t l : load) EXPECT_LE(l, all / static_cast<std::size_t>(ranks) + 1200);
  }
}

}  // namespace
}  // namespace spn::ckpt
