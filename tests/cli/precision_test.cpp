// Runs in bf16, and runs that average their weights: beside fp32, on several ranks, resumed.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/ckpt/safetensors.h"
#include "tests/support/cli_run.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::checkpoint;
using test::made_data;
using test::on_ranks;
using test::run_binary;

test::Ran pretrain(const std::string& run_dir, const std::string& more, int ranks = 1) {
  return run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + run_dir + "' --global-batch 16" +
                        test::kSmallModel + more,
                    on_ranks(ranks));
}

std::map<std::string, Tensor> average_of(const std::string& folder) {
  const ckpt::SafetensorsReader reader(folder + "/ema.safetensors");
  std::map<std::string, Tensor> out;
  for (const auto& [name, info] : reader.tensors()) out.emplace(name, reader.load(name));
  return out;
}

// A run that was killed after a checkpoint: everything newer is gone.
void forget_after(const std::string& run_dir, int step) {
  for (const auto& e : fs::directory_iterator(run_dir + "/checkpoints"))
    if (e.is_directory() && e.path().string() > checkpoint(run_dir, step)) fs::remove_all(e.path());
  std::ofstream(run_dir + "/checkpoints/latest") << fs::path(checkpoint(run_dir, step)).filename().string() << "\n";
}

double mean_loss(const std::vector<test::MetricsLine>& lines, std::size_t from, std::size_t to) {
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) sum += lines[i].at("loss");
  return sum / static_cast<double>(to - from);
}

TEST(Bf16, LearnsAsFp32Does) {
  const test::TempFolder folder;
  for (const char* precision : {"fp32", "bf16"}) {
    const auto ran = pretrain(
        folder / precision,
        std::string("--steps 100 --warmup-epochs 0 --warmup-steps 10 --base-lr 0.02 --precision ") + precision);
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_NE(test::read_text(folder / (std::string(precision) + "/config.cfg"))
                  .find(std::string("precision = ") + precision),
              std::string::npos);
  }
  const auto wide = test::read_metrics(folder / "fp32"), half = test::read_metrics(folder / "bf16");
  ASSERT_EQ(half.size(), 100U);
  EXPECT_NE(half[0].at("loss"), wide[0].at("loss"));
  EXPECT_TRUE(std::abs(half[0].at("loss") - wide[0].at("loss")) <= 1.6e-2 * wide[0].at("loss"));
  const double first = mean_loss(wide, 0, 5), last = mean_loss(wide, 90, 100), half_last = mean_loss(half, 90, 100);
  EXPECT_LT(last, 0.9 * first) << "the fp32 run did not learn";  // at larger steps the two part by chance
  EXPECT_TRUE(std::abs((first - half_last) - (first - last)) <= 0.15 * (first - last))
      << "from " << first << ": fp32 to " << last << ", bf16 to " << half_last;
  // the checkpoint is fp32 whatever was computed in
  for (const auto& [name, t] : test::read_weights(checkpoint(folder / "bf16", 100)))
    EXPECT_TRUE(t.dtype() == DType::f32 || t.dtype() == DType::i64) << name;
}

TEST(Bf16, RanksAgreeAndResumeIsBitIdentical) {
  const test::TempFolder folder;
  for (const int ranks : {1, 2}) {
    const auto ran = pretrain(folder / std::to_string(ranks),
                              "--precision bf16 --steps 8 --checkpoint-every 4 --keep-checkpoints 0", ranks);
    ASSERT_EQ(ran.status, 0) << ran.text;
  }
  const auto one = test::read_metrics(folder / "1"), two = test::read_metrics(folder / "2");
  ASSERT_EQ(two.size(), one.size());
  for (std::size_t i = 0; i < one.size(); ++i)
    EXPECT_TRUE(std::abs(two[i].at("loss") - one[i].at("loss")) <= 2e-3 * one[i].at("loss"))
        << "step " << i + 1 << ": " << two[i].at("loss") << " against " << one[i].at("loss");
  fs::copy(folder / "2", folder / "killed", fs::copy_options::recursive);
  forget_after(folder / "killed", 4);
  const auto ran =
      pretrain(folder / "killed", "--precision bf16 --steps 8 --checkpoint-every 4 --keep-checkpoints 0", 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  for (const char* file : {"/model.safetensors", "/optimizer-1-of-2.safetensors"})
    EXPECT_EQ(test::read_text(checkpoint(folder / "killed", 8) + file),
              test::read_text(checkpoint(folder / "2", 8) + file))
        << file;
}

TEST(Bf16, EmbedsCloseToFp32) {
  const test::TempFolder folder;
  ASSERT_EQ(pretrain(folder / "run", "--steps 3 --precision bf16").status, 0);
  for (const char* precision : {"fp32", "bf16"}) {
    const auto ran =
        run_binary("evaluate --checkpoint '" + (folder / "run") + "' --pack '" + made_data().held_out_pack +
                   "' --output '" + (folder / precision) + "' --precision " + precision);
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_NE(test::read_text(folder / (std::string(precision) + "/metrics.json"))
                  .find(std::string("\"precision\": \"") + precision),
              std::string::npos);
  }
  EXPECT_EQ(pretrain(folder / "no", "--steps 1 --precision fp16").status, 2);
}

// Each checkpoint's average follows from the one before it and the weights, and nothing else of the run changes.
TEST(Ema, FollowsTheWeightsAndChangesNothingElse) {
  const test::TempFolder folder;
  const std::string every = "--steps 6 --checkpoint-every 1 --keep-checkpoints 0";
  auto ran = pretrain(folder / "run", every + " --ema-decay 0.9", 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  ran = pretrain(folder / "plain", every, 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(test::read_text(checkpoint(folder / "run", 6) + "/model.safetensors"),
            test::read_text(checkpoint(folder / "plain", 6) + "/model.safetensors"));
  EXPECT_FALSE(fs::exists(checkpoint(folder / "plain", 6) + "/ema.safetensors"));
  for (int step = 2; step <= 6; ++step) {
    const auto before = average_of(checkpoint(folder / "run", step - 1)),
               now = average_of(checkpoint(folder / "run", step));
    const auto weights = test::read_weights(checkpoint(folder / "run", step));
    ASSERT_EQ(now.size(), weights.size());  // nothing is frozen here
    bool moved = false;
    for (const auto& [name, t] : now) {
      const auto a = before.at(name).to_vector<double>(), w = weights.at(name).to_vector<double>(),
                 got = t.to_vector<double>();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double want = t.dtype() == DType::i64 ? w[i] : 0.9 * a[i] + 0.1 * w[i];
        ASSERT_TRUE(std::abs(got[i] - want) <= 1e-6 * std::abs(want) + 1e-7) << name << " at step " << step;
        moved = moved || got[i] != a[i];
      }
    }
    EXPECT_TRUE(moved) << "step " << step;
  }
  const auto inspected = run_binary("inspect '" + checkpoint(folder / "run", 6) + "' --verify");
  EXPECT_EQ(inspected.status, 0) << inspected.text;
}

TEST(Ema, ResumedIsBitIdenticalAndMayBeginLater) {
  const test::TempFolder folder;
  const std::string options = "--steps 6 --checkpoint-every 3 --keep-checkpoints 0 --ema-decay 0.9";
  ASSERT_EQ(pretrain(folder / "run", options, 2).status, 0);
  fs::copy(folder / "run", folder / "killed", fs::copy_options::recursive);
  forget_after(folder / "killed", 3);
  auto ran = pretrain(folder / "killed", options, 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(test::read_text(checkpoint(folder / "killed", 6) + "/ema.safetensors"),
            test::read_text(checkpoint(folder / "run", 6) + "/ema.safetensors"));

  ASSERT_EQ(pretrain(folder / "late", "--steps 6 --checkpoint-every 3 --keep-checkpoints 0").status, 0);
  forget_after(folder / "late", 3);
  ran = pretrain(folder / "late", "--steps 6 --checkpoint-every 1 --keep-checkpoints 0 --ema-decay 0.5");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("the average starts from its weights, at step 3"), std::string::npos) << ran.text;
  const auto start = test::read_weights(checkpoint(folder / "late", 3)),
             next = test::read_weights(checkpoint(folder / "late", 4));
  for (const auto& [name, t] : average_of(checkpoint(folder / "late", 4))) {
    if (t.dtype() == DType::i64) continue;
    const auto a = start.at(name).to_vector<double>(), w = next.at(name).to_vector<double>(),
               got = t.to_vector<double>();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_TRUE(std::abs(got[i] - 0.5 * (a[i] + w[i])) <= 1e-6 * std::abs(got[i]) + 1e-7) << name;
  }
}

TEST(Ema, IsWhatEvaluateUsesWhenAsked) {
  const test::TempFolder folder;
  ASSERT_EQ(pretrain(folder / "run", "--steps 4 --base-lr 1e-2 --warmup-steps 1 --ema-decay 0.9").status, 0);
  ASSERT_EQ(pretrain(folder / "plain", "--steps 1").status, 0);
  const auto evaluate = [&](const std::string& run, const std::string& out, const std::string& more) {
    return run_binary("evaluate --checkpoint '" + (folder / run) + "' --pack '" + made_data().held_out_pack +
                      "' --output '" + (folder / out) + "'" + more);
  };
  ASSERT_EQ(evaluate("run", "model", "").status, 0);
  ASSERT_EQ(evaluate("run", "ema", " --ema").status, 0);
  const std::string model = test::read_text(folder / "model/metrics.json"),
                    ema = test::read_text(folder / "ema/metrics.json");
  EXPECT_NE(model.find("\"weights\": \"model\""), std::string::npos);
  EXPECT_NE(ema.find("\"weights\": \"ema\""), std::string::npos);
  const auto refused = evaluate("plain", "no", " --ema");
  EXPECT_EQ(refused.status, 3) << refused.text;
  EXPECT_NE(refused.text.find("--ema-decay"), std::string::npos) << refused.text;
  EXPECT_EQ(pretrain(folder / "bad", "--steps 1 --ema-decay 1").status, 2);
}

}  // namespace
}  // namespace spn
