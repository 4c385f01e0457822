// Whole training runs: any number of ranks gives the same run, and options do what they say. Stopped ones:
// stopped_run_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "data/pack/reader.h"
#include "tests/support/cli_run.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::checkpoint;
using test::made_data;
using test::on_ranks;
using test::run_binary;

// Dropout and augmentation are on: that they do not depend on the number of ranks is part of what is tested.
test::Ran pretrain(const std::string& run_dir, const std::string& more, int ranks = 1) {
  return run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + run_dir + "' --global-batch 16" +
                        test::kSmallModel + more,
                    on_ranks(ranks));
}

TEST(Pretrain, WorldSizeDoesNotChangeTheRun) {
  const test::TempFolder folder;
  for (const int ranks : {1, 2, 4}) {
    const auto ran = pretrain(folder / std::to_string(ranks), "--steps 50", ranks);
    ASSERT_EQ(ran.status, 0) << ran.text;
  }
  const auto one = test::read_metrics(folder / "1");
  ASSERT_EQ(one.size(), 50u);
  for (const int ranks : {2, 4}) {
    const auto many = test::read_metrics(folder / std::to_string(ranks));
    ASSERT_EQ(many.size(), one.size());
    for (std::size_t i = 0; i < one.size(); ++i)
      for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross"})
        ASSERT_TRUE(std::abs(many[i].at(key) - one[i].at(key)) <= (i < 20 ? 1e-4 : 1e-3) * one[i].at(key))
            << ranks << " ranks, step " << i + 1 << " " << key << ": " << many[i].at(key) << " against "
            << one[i].at(key);
    const double distance = test::relative_distance(test::read_weights(checkpoint(folder / std::to_string(ranks), 50)),
                                                    test::read_weights(checkpoint(folder / "1", 50)));
    EXPECT_TRUE(distance <= 1e-3) << ranks << " ranks: weights differ by " << distance;
  }
  EXPECT_NE(one.front().at("loss"), one.back().at("loss"));
}

TEST(Pretrain, RowsInMemoryAreTheRowsOnDisk) {
  const test::TempFolder folder;
  const data::PackReader pack(made_data().train_pack);
  const data::PackHeader& h = pack.header();
  const std::int64_t row =
      3 * (h.spot_px * h.spot_px + h.niche_px * h.niche_px) + 4 * (h.spot_genes + h.niche_genes) + 4 + 4 + 8;
  const auto gib = [&](double share) {  // of the whole pack
    return fmt::format(" --residency-gib {:.9f}", share * static_cast<double>(row * h.spots) / (1 << 30));
  };
  for (const int ranks : {1, 2, 4}) {
    const std::string disk = folder / fmt::format("disk{}", ranks);
    auto ran = pretrain(disk, "--steps 7", ranks);
    ASSERT_EQ(ran.status, 0) << ran.text;
    const auto want = test::read_metrics(disk);
    for (const double share : {1.01, 0.8}) {
      const std::string name = folder / fmt::format("host{}-{}", ranks, share);
      ran = pretrain(name, "--steps 7 --residency host" + gib(share), ranks);
      if (ranks == 1 && share < 1) {
        EXPECT_EQ(ran.status, 2) << ran.text;
        EXPECT_NE(ran.text.find("--residency disk"), std::string::npos) << ran.text;
        continue;
      }
      ASSERT_EQ(ran.status, 0) << ran.text;
      EXPECT_EQ(ran.text.find("shared out") != std::string::npos, share < 1) << ran.text;
      const auto got = test::read_metrics(name);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i)
        ASSERT_EQ(got[i].at("loss"), want[i].at("loss")) << "step " << i + 1;
      EXPECT_EQ(
          test::relative_distance(test::read_weights(checkpoint(name, 7)), test::read_weights(checkpoint(disk, 7))), 0);
    }
  }
}

TEST(Pretrain, ResumedIsBitIdenticalAndKeepsItsOrderOnOtherRanks) {
  const test::TempFolder folder;
  const std::string straight = folder / "straight";
  auto ran = pretrain(straight, "--steps 12 --checkpoint-every 5 --keep-checkpoints 0", 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  // A run that was killed after step 8: the checkpoint of step 5 is the newest, the metrics know of later steps. With 6
  // steps an epoch, it goes on in the middle of one.
  const auto killed = [&](const std::string& name) {
    fs::copy(straight, folder / name, fs::copy_options::recursive);
    for (const int step : {10, 12}) fs::remove_all(checkpoint(folder / name, step));
    std::ofstream(folder / (name + "/checkpoints/latest")) << "step-00000005\n";
    return folder / name;
  };
  const auto want = test::read_metrics(straight);
  for (const int ranks : {1, 2, 4}) {
    const std::string run = killed("killed" + std::to_string(ranks));
    ran = pretrain(run, "--steps 12 --checkpoint-every 5 --keep-checkpoints 0", ranks);
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_NE(ran.text.find("resuming from"), std::string::npos) << ran.text;
    const auto got = test::read_metrics(run);
    ASSERT_EQ(got.size(), want.size()) << "no step twice, none missing";
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].at("step"), static_cast<double>(i + 1));
      if (ranks == 2) {
        ASSERT_EQ(got[i].at("loss"), want[i].at("loss")) << "step " << i + 1;
        ASSERT_EQ(got[i].at("grad_norm"), want[i].at("grad_norm")) << "step " << i + 1;
      } else {
        ASSERT_TRUE(std::abs(got[i].at("loss") - want[i].at("loss")) <= 1e-4 * want[i].at("loss"))
            << ranks << " ranks, step " << i + 1;
      }
    }
    if (ranks == 2) {
      EXPECT_EQ(test::read_text(checkpoint(run, 12) + "/model.safetensors"),
                test::read_text(checkpoint(straight, 12) + "/model.safetensors"));
      EXPECT_EQ(test::read_text(checkpoint(run, 12) + "/optimizer-1-of-2.safetensors"),
                test::read_text(checkpoint(straight, 12) + "/optimizer-1-of-2.safetensors"));
    }
  }
}

TEST(Pretrain, MicroBatchesChangeMemoryNotTheResult) {
  const test::TempFolder folder;
  // frozen batch statistics: what is documented to depend on the grouping is left out
  for (const char* size : {"0", "8", "4"}) {
    const auto ran = pretrain(folder / size, std::string("--steps 5 --batch-norm frozen --micro-batch ") + size);
    ASSERT_EQ(ran.status, 0) << ran.text;
  }
  const auto whole = test::read_metrics(folder / "0");
  for (const char* size : {"8", "4"}) {
    const auto parts = test::read_metrics(folder / size);
    for (std::size_t i = 0; i < whole.size(); ++i)
      EXPECT_TRUE(std::abs(parts[i].at("loss") - whole[i].at("loss")) <= 1e-5 * whole[i].at("loss"))
          << size << " step " << i + 1;
  }
}

TEST(Pretrain, ActivationCheckpointingChangesMemoryNotTheResult) {
  const test::TempFolder folder;
  for (const std::string micro : {"0", "8"}) {
    const std::string plain = folder / ("plain" + micro), again = folder / ("again" + micro);
    const std::string options = "--steps 4 --warmup-steps 1 --niche-gene-blocks 4 --micro-batch " + micro;
    auto ran = pretrain(plain, options);
    ASSERT_EQ(ran.status, 0) << ran.text;
    ran = pretrain(again, options + " --activation-checkpointing");
    ASSERT_EQ(ran.status, 0) << ran.text;
    const auto want = test::read_metrics(plain), got = test::read_metrics(again);
    ASSERT_EQ(want.size(), 4U);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
      for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross", "acc_cross", "grad_norm"})
        EXPECT_EQ(got[i].at(key), want[i].at(key)) << "--micro-batch " << micro << " step " << i + 1 << " " << key;
    EXPECT_LT(got.back().at("mem_bytes"), want.back().at("mem_bytes")) << "--micro-batch " << micro;
  }
}

TEST(Pretrain, ConfigurationFileRepeatsTheRun) {
  const test::TempFolder folder;
  fs::create_directory(folder / "my data");
  fs::copy(made_data().train_pack, folder / "my data/two words.h5");
  const std::string pack = "pretrain --pack '" + (folder / "my data/two words.h5") + "' --global-batch 16" +
                           test::kSmallModel + "--output '";
  int i = 0;
  for (const char* more :
       {"--steps 6 --negatives exclude_radius_um --exclude-radius-um 300 --learnable-temperature",
        "--epochs 1 --freeze 'heads.*' 'spot_gene.*' --lr-scale 'spot_image.*=0.5' 'niche_gene.*=0.25'"}) {
    const std::string a = folder / fmt::format("a{}", i), b = folder / fmt::format("b{}", i);
    ++i;
    auto ran = run_binary(pack + a + "' " + more);
    ASSERT_EQ(ran.status, 0) << ran.text;
    ran = run_binary("pretrain --config '" + a + "/config.cfg' --output '" + b + "'");
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_EQ(test::read_text(checkpoint(a, 6) + "/model.safetensors"),
              test::read_text(checkpoint(b, 6) + "/model.safetensors"));
  }
}

TEST(Pretrain, AWarmUpAsLongAsTheRunIsSaid) {
  const test::TempFolder folder;
  const std::string said = "never reaches its peak";
  auto ran = pretrain(folder / "short", "--steps 2", 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find(said), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find(said), ran.text.rfind(said)) << "once, not by every rank";
  ran = pretrain(folder / "long", "--steps 2 --warmup-epochs 0 --warmup-steps 1 --cuda-graph off");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(ran.text.find(said), std::string::npos) << ran.text;
  EXPECT_NE(ran.text.find("--cuda-graph off does nothing here"), std::string::npos) << ran.text;
}

TEST(Pretrain, ExcludingByLabelAsksForLabels) {
  const test::TempFolder folder;
  const std::string slides = folder / "slides";
  fs::copy(made_data().slides, slides, fs::copy_options::recursive);
  // three slides of 48 spots, then two, then none of them with labels
  const auto trained = [&](const std::string& name) {
    const std::string pack = folder / (name + ".h5");
    auto ran = run_binary("prepare --format stimage-1k4m --spot-image-px 16 --niche-image-px 32 --gene-list '" +
                          made_data().train_pack + "' --input '" + slides + "' --output '" + pack + "'");
    if (ran.status != 0) return ran;
    return run_binary("pretrain --pack '" + pack + "' --output '" + (folder / name) +
                      "' --global-batch 16 --steps 1 --negatives other_cluster" + test::kSmallModel);
  };
  auto ran = trained("all");
  EXPECT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(ran.text.find("labels:"), std::string::npos) << ran.text;
  fs::remove(fs::directory_iterator(slides + "/annotation")->path());
  ran = trained("some");
  EXPECT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("labels: 48 of 144 spots have none"), std::string::npos) << ran.text;
  fs::remove_all(slides + "/annotation");
  ran = trained("none");
  EXPECT_EQ(ran.status, 2) << ran.text;
  EXPECT_NE(ran.text.find("no spot of the packs has a label"), std::string::npos) << ran.text;
  EXPECT_FALSE(fs::exists(folder / "none"));
}

TEST(Pretrain, EpochsOnTheCommandLineTakeThePlaceOfAFilesSteps) {
  const test::TempFolder folder;
  std::ofstream(folder / "run.cfg") << "steps = 150\n";
  auto ran = pretrain(folder / "run", "--config '" + (folder / "run.cfg") + "' --epochs 0.5");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(test::read_metrics(folder / "run").size(), 3U);
  ran = pretrain(folder / "both", "--steps 3 --epochs 1");
  EXPECT_EQ(ran.status, 2) << ran.text;
}

TEST(Pretrain, EveryOptionOfTheLossAndOptimiserTrains) {
  const test::TempFolder folder;
  int i = 0;
  for (const char* more :
       {"--negatives other_cluster", "--max-negatives 8", "--optimizer sgd --clip-norm 0.5", "--batch-norm local",
        "--freeze 'niche_image.backbone.*' --lr-scale 'spot_image.backbone.*=0.1'"}) {
    const auto ran = pretrain(folder / std::to_string(i++), std::string("--steps 2 ") + more, 2);
    EXPECT_EQ(ran.status, 0) << more << "\n" << ran.text;
  }
}

}  // namespace
}  // namespace spn
