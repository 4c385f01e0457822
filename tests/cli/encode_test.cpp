// encode as a user runs it: the same features on any ranks, and training on features is training on images. Stopped
// ones: encode_stopped_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "data/h5/h5.h"
#include "data/pack/reader.h"
#include "tests/support/cli_run.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using data::FeatureKind;
using test::copy_pack;
using test::encode_args;
using test::expect;
using test::made_data;
using test::on_ranks;
using test::run_binary;

// The ViT of test::kSmallModel.
const char* const kVit = " --vit-width 16 --vit-depth 1 --vit-heads 2 --vit-mlp 32 --vit-patch 8";

TEST(Encode, TheSameBytesOnAnyRanks) {
  const test::TempFolder folder;
  std::string first;
  for (const int ranks : {1, 2, 4}) {
    const std::string pack = copy_pack(folder, std::to_string(ranks) + ".h5");
    const auto ran = run_binary(encode_args(pack, " --batch 7" + std::string(kVit)), on_ranks(ranks));
    expect(ran, 0, {"RANDOM WEIGHTS", "complete", "96 of 96"});
    const std::string bytes = test::read_text(pack);
    if (ranks == 1) first = bytes;
    EXPECT_TRUE(bytes == first) << ranks << " ranks wrote other bytes";
    expect(run_binary("inspect '" + pack + "' --verify"), 0, {"niche_image", "random, seed 42", "complete", "whole"});
    expect(run_binary(encode_args(pack, " --batch 7" + std::string(kVit))), 0, {"nothing to do"});
    EXPECT_TRUE(test::read_text(pack) == first);
  }
}

test::Ran pretrain(const std::string& pack, const std::string& run, const std::string& more, int ranks = 1) {
  return run_binary(
      "pretrain --pack '" + pack + "' --output '" + run + "' --global-batch 16 --vit-frozen" + test::kSmallModel + more,
      on_ranks(ranks));
}
const char* const kPlain = " --augment-flips=false --augment-stain 0";
// Small temperature, large steps: so that features which are wrong by 1 % are seen in the losses.
const char* const kSensitive = " --temperature 0.01 --warmup-epochs 0 --warmup-steps 4 --base-lr 0.02 --steps 12";
constexpr double kLossBound = 1e-5;

// The largest relative difference of any loss.
double loss_distance(const std::string& run, const std::string& reference) {
  const auto got = test::read_metrics(run), want = test::read_metrics(reference);
  EXPECT_EQ(want.size(), 12U);
  EXPECT_EQ(got.size(), want.size());
  double most = 0;
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i)
    for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross"}) {
      const double d = std::abs(got[i].at(key) - want[i].at(key)) / want[i].at(key);
      if (!(d <= most)) most = d;
    }
  return most;
}

TEST(Encode, TrainingOnFeaturesIsTrainingOnImages) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5"), options = std::string(kPlain) + kSensitive;
  ASSERT_EQ(run_binary(encode_args(pack, kVit)).status, 0);
  for (const int ranks : {1, 2}) {
    const auto name = [&](const char* what) { return folder / (what + std::to_string(ranks)); };
    const auto cached = pretrain(pack, name("cached"), options + " --features require", ranks);
    expect(cached, 0, {"features of width 16 are read in their place"});
    const auto plain = pretrain(pack, name("images"), options + " --features never", ranks);
    expect(plain, 0, {});
    EXPECT_EQ(plain.text.find("in their place"), std::string::npos) << plain.text;
    const double losses = loss_distance(name("cached"), name("images"));
    EXPECT_TRUE(losses <= kLossBound) << ranks << " ranks: " << losses;
    const auto weights = test::read_weights(name("cached") + "/checkpoints/step-00000012");
    const double distance =
        test::relative_distance(weights, test::read_weights(name("images") + "/checkpoints/step-00000012"));
    EXPECT_TRUE(distance <= 1e-5) << distance;
    // the checkpoint is whole, the optimiser keeps nothing of what is frozen
    EXPECT_EQ(weights.count("niche_image.backbone.blocks.0.attn.qkv.weight"), 1U);
    for (int r = 0; r < ranks; ++r) {
      const std::string optimizer =
          test::read_text(name("cached") + "/checkpoints/step-00000012/optimizer-" + std::to_string(r) + "-of-" +
                          std::to_string(ranks) + ".safetensors");
      EXPECT_EQ(optimizer.find("niche_image.backbone"), std::string::npos);
    }
  }
  // micro-batches of features
  ASSERT_EQ(pretrain(pack, folder / "parts", options + " --batch-norm frozen --micro-batch 4").status, 0);
  ASSERT_EQ(pretrain(pack, folder / "whole", options + " --batch-norm frozen --features never").status, 0);
  EXPECT_TRUE(loss_distance(folder / "parts", folder / "whole") <= 1e-4);

  // that the bound means something: features wrong by 1 % are far beyond it
  const std::string dataset = data::feature_dataset(FeatureKind::niche_image);
  data::h5::File file = data::h5::File::open_to_write(pack);
  std::vector<float> values(96 * 16);
  file.read_rows(dataset, data::h5::Type::f32, values.data(), 0, 96);
  for (float& v : values) v *= 1.01F;
  file.write_rows(dataset, data::h5::Type::f32, values.data(), 0, 96);
  file.close();
  ASSERT_EQ(pretrain(pack, folder / "wrong", options).status, 0);
  EXPECT_GT(loss_distance(folder / "wrong", folder / "images1"), 10 * kLossBound);
}

TEST(Encode, ARunOnFeaturesIsResumedExactly) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5");
  ASSERT_EQ(run_binary(encode_args(pack, kVit)).status, 0);
  // augmentation on: the spot image keeps its own
  const auto straight = pretrain(pack, folder / "a", " --steps 8 --checkpoint-every 4 --keep-checkpoints 0", 2);
  expect(straight, 0, {"the niche gets no augmentation"});
  fs::copy(folder / "a", folder / "b", fs::copy_options::recursive);
  fs::remove_all(folder / "b/checkpoints/step-00000008");
  std::ofstream(folder / "b/checkpoints/latest") << "step-00000004\n";
  expect(pretrain(pack, folder / "b", " --steps 8 --checkpoint-every 4 --keep-checkpoints 0", 2), 0,
         {"resuming from", "in their place"});
  EXPECT_TRUE(test::read_text(folder / "a/checkpoints/step-00000008/model.safetensors") ==
              test::read_text(folder / "b/checkpoints/step-00000008/model.safetensors"));

  // embeddings from features are those from images, and so is retrieval
  for (const char* features : {"require", "never"}) {
    const std::string tail = "' --pack '" + pack + "' --features " + features + " --output '" + (folder / features);
    expect(run_binary("embed --checkpoint '" + (folder / "a") + tail + ".h5ad'"), 0, {});
    expect(run_binary("evaluate --checkpoint '" + (folder / "a") + tail + "'"), 0, {"recall@5"});
  }
  std::vector<float> z[2];
  for (int i = 0; i < 2; ++i) {
    const auto file = data::h5::File::open(folder / (i == 0 ? "require.h5ad" : "never.h5ad"));
    z[i].resize(96 * 16);
    file.read_rows("/obsm/X_spotniche_niche", data::h5::Type::f32, z[i].data(), 0, 96);
  }
  for (std::size_t i = 0; i < z[0].size(); ++i) ASSERT_TRUE(std::abs(z[0][i] - z[1][i]) <= 1e-5) << i;
}

// Nothing that comes later changes what a run reads: not features that were encoded meanwhile, not another precision.
TEST(Encode, ARunGoesOnWithWhatItBeganWith) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5"), run = folder / "run", of_features = folder / "cached";
  expect(pretrain(pack, run, " --steps 2"), 0, {});
  ASSERT_EQ(run_binary(encode_args(pack, kVit)).status, 0);
  const std::string before = test::read_text(run + "/metrics.jsonl");
  expect(pretrain(pack, run, " --steps 4"), 2, {"was trained on niche images", "--features never goes on as before"});
  expect(pretrain(pack, run, " --steps 4 --features require"), 2, {"--features never"});
  EXPECT_TRUE(test::read_text(run + "/metrics.jsonl") == before);
  const auto on = pretrain(pack, run, " --steps 4 --features never");
  expect(on, 0, {"resuming from"});
  EXPECT_EQ(on.text.find("in their place"), std::string::npos);
  EXPECT_NE(test::read_text(run + "/config.cfg").find("\nfeatures = never\n"), std::string::npos);

  const std::string sum = data::PackReader(pack).features(FeatureKind::niche_image)->checksum;
  expect(pretrain(pack, of_features, " --steps 2"), 0,
         {"warning: the niche gets no augmentation", "--features never trains on augmented"});
  EXPECT_NE(test::read_text(of_features + "/config.cfg").find("\nfeatures = require\n"), std::string::npos);
  const std::string state = test::read_text(of_features + "/checkpoints/step-00000002/state.json");
  for (const std::string& word : {std::string("\"features\""), sum, std::string("\"fp32\"")})
    EXPECT_NE(state.find(word), std::string::npos) << word << " in " << state;
  expect(pretrain(pack, of_features, " --steps 4 --features never"), 2,
         {"was trained on niche features", "--features require goes on as before"});
  expect(pretrain(pack, of_features, " --steps 3"), 0, {"in their place"});
  ASSERT_EQ(run_binary(encode_args(pack, " --precision bf16 --overwrite" + std::string(kVit))).status, 0);
  expect(pretrain(pack, of_features, " --steps 4"), 2, {"niche_features_precision fp32", "bf16", "encode them as"});

  // what was read stands beside what came of it
  const std::string tail = "' --pack '" + pack + "' --output '" + folder.path() + "/";
  ASSERT_EQ(run_binary("evaluate --checkpoint '" + of_features + tail + "e'").status, 0);
  const std::string metrics = test::read_text(folder / "e/metrics.json");
  for (const std::string& word : {std::string("\"niche_input\": \"features\""), sum, std::string("\"bf16\"")})
    EXPECT_NE(metrics.find(word), std::string::npos) << word << " in " << metrics;
  ASSERT_EQ(run_binary("embed --checkpoint '" + of_features + tail + "o.h5ad'").status, 0);
  ASSERT_EQ(run_binary("embed --features never --checkpoint '" + of_features + tail + "i.h5ad'").status, 0);
  const auto cached = data::h5::File::open(folder / "o.h5ad"), plain = data::h5::File::open(folder / "i.h5ad");
  const std::string uns = "/uns/spotniche/niche_";
  EXPECT_TRUE(cached.has(uns + "input") && plain.has(uns + "input"));
  for (const char* name : {"features_checksum", "features_precision", "features_type"}) {
    EXPECT_TRUE(cached.has(uns + name)) << name;
    EXPECT_FALSE(plain.has(uns + name)) << name;
  }
  EXPECT_NE(test::read_text(folder / "o.h5ad").find(sum), std::string::npos);
}

TEST(Encode, PacksWithFeaturesOfUnlikePrecisionAreRefused) {
  const test::TempFolder folder;
  const std::string one = copy_pack(folder, "one.h5"), two = folder / "two.h5";
  fs::copy_file(made_data().held_out_pack, two);
  ASSERT_EQ(run_binary(encode_args(one, kVit)).status, 0);
  ASSERT_EQ(run_binary(encode_args(two, " --precision bf16" + std::string(kVit))).status, 0);
  const std::string both = one + "' --pack '" + two;
  expect(pretrain(both, folder / "run", " --steps 1 --features require"), 3, {"precision fp32 and bf16", "two.h5"});
  ASSERT_EQ(run_binary(encode_args(two, " --overwrite" + std::string(kVit))).status, 0);
  expect(pretrain(both, folder / "run", " --steps 1 --features require"), 0, {"in their place"});
}

TEST(Encode, WeightsOfACheckpointGiveItsOwnFeatures) {
  const test::TempFolder folder;
  ASSERT_EQ(pretrain(made_data().train_pack, folder / "run", " --steps 2 --seed 9").status, 0);
  const std::string pack = copy_pack(folder, "p.h5");
  // sizes come from the checkpoint
  expect(run_binary("encode --pack '" + pack + "' --weights '" + (folder / "run") + "'"), 0, {"complete"});
  expect(run_binary("embed --checkpoint '" + (folder / "run") + "' --pack '" + pack +
                    "' --features require --output '" + (folder / "o.h5ad") + "'"),
         0, {"in their place"});
  expect(run_binary("encode --pack '" + pack + "' --vit-depth 3 --weights '" + (folder / "run") + "'"), 2,
         {"--vit-depth is 3", "says 1"});
  // what is exported of it are the same weights, and brings its sizes too
  for (const char* part : {"", "--part niche_image"}) {
    const std::string out = folder / ("export" + std::to_string(std::string(part).size()));
    ASSERT_EQ(run_binary("export --checkpoint '" + (folder / "run") + "' --output '" + out + "' " + part).status, 0);
    expect(run_binary("encode --pack '" + pack + "' --weights '" + out + "'"), 0, {"nothing to do"});
  }
  // a model whose ViT is trained reads images, and says so
  ASSERT_EQ(run_binary("pretrain --pack '" + pack + "' --output '" + (folder / "free") +
                       "' --global-batch 16 --steps 1" + test::kSmallModel)
                .status,
            0);
  expect(run_binary("embed --checkpoint '" + (folder / "free") + "' --pack '" + pack + "' --output '" +
                    (folder / "f.h5ad") + "'"),
         0, {"niche features are not read"});
}

TEST(Encode, OtherWeightsAreRefusedWithBothSums) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5");
  ASSERT_EQ(run_binary(encode_args(pack, " --seed 1" + std::string(kVit))).status, 0);
  const std::string one = data::PackReader(pack).features(FeatureKind::niche_image)->checksum;
  const auto fresh = pretrain(pack, folder / "run", " --steps 2 --seed 2");
  expect(fresh, 3, {one, "random weights", "--niche-image-weights", "--init", "--features never"});
  EXPECT_FALSE(fs::exists(folder / "run"));
  expect(run_binary(encode_args(pack, " --seed 2" + std::string(kVit))), 3, {one, "--overwrite"});
  expect(run_binary(encode_args(pack,
                                " --seed 1 --vit-heads 4 --vit-width 16 --vit-depth 1 --vit-mlp 32 --vit-patch 8 "
                                "--token-width 16")),
         3, {"encoder_config", "--overwrite"});
  expect(run_binary(encode_args(pack, " --seed 2 --overwrite" + std::string(kVit))), 0, {"complete"});
  EXPECT_NE(data::PackReader(pack).features(FeatureKind::niche_image)->checksum, one);
  ASSERT_EQ(pretrain(pack, folder / "run", " --steps 2 --seed 2").status, 0);
  ASSERT_EQ(run_binary(encode_args(pack, " --seed 3 --overwrite" + std::string(kVit))).status, 0);
  for (const char* command : {"embed", "evaluate"})
    expect(run_binary(std::string(command) + " --checkpoint '" + (folder / "run") + "' --pack '" + pack +
                      "' --output '" + (folder / "o") + "'"),
           3, {"are of weights", "the model's frozen ViT has", "--features never"});
  EXPECT_FALSE(fs::exists(folder / "o"));
}

TEST(Encode, FeaturesInPartAreRefused) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5");
  ASSERT_EQ(run_binary(encode_args(pack, " --batch 8" + std::string(kVit))).status, 0);
  {
    data::h5::File file = data::h5::File::open_to_write(pack);
    const std::uint8_t none = 0;
    file.write_rows(data::feature_blocks(FeatureKind::niche_image), data::h5::Type::u8, &none, 5, 1);
    file.close();
  }
  expect(pretrain(pack, folder / "a", " --steps 1"), 3,
         {"11 of 12 blocks of 8 rows", "give spotniche encode once more", "--features never"});
  EXPECT_FALSE(fs::exists(folder / "a"));
  expect(pretrain(pack, folder / "a", " --steps 1 --features never"), 0, {});
  expect(pretrain(pack, folder / "b", " --steps 1 --features require"), 3, {"11 of 12 blocks of 8 rows", "encode"});
  expect(pretrain(made_data().train_pack, folder / "c", " --steps 1 --features require"), 3, {"has no niche_image"});
  // a pack without features says nothing about them
  const auto plain = pretrain(made_data().train_pack, folder / "d", " --steps 1");
  EXPECT_EQ(plain.text.find("niche features"), std::string::npos) << plain.text;
  expect(run_binary(encode_args(pack, " --batch 8" + std::string(kVit))), 0, {"11 of 12", "8 of 8 niche images"});
  expect(pretrain(pack, folder / "e", " --steps 1"), 0, {"in their place"});
}

TEST(Encode, BadOptionsAndFiles) {
  const test::TempFolder folder;
  const std::string pack = copy_pack(folder, "p.h5"), before = test::read_text(pack);
  expect(run_binary("encode --pack '" + pack + "'"), 2, {"--weights"});
  expect(run_binary("encode --weights random"), 2, {"--pack"});
  expect(run_binary(encode_args(pack, " --niche-adapter" + std::string(kVit))), 2, {"adapter", "cannot be stored"});
  expect(run_binary(encode_args(pack, " --vit-patch 5 --vit-width 16 --vit-heads 2")), 2, {"--vit-patch", "32 px"});
  expect(run_binary(encode_args(pack, " --vit-patch 8 --vit-width 16 --vit-heads 3")), 2, {"--vit-heads"});
  expect(run_binary(encode_args(pack, " --batch 0" + std::string(kVit))), 2, {"--batch"});
  expect(run_binary(encode_args(pack, " --key X_scGPT" + std::string(kVit))), 2, {"--key is of --encoder spot_gene"});
  expect(run_binary(encode_args(pack, " --niche-image-px 64" + std::string(kVit))), 3, {"32 px", "64 px"});
  expect(run_binary(encode_args(folder / "none.h5", kVit)), 3, {"none.h5"});
  expect(run_binary("encode --pack '" + pack + "' --weights '" + (folder / "none.safetensors") + "'" + kVit), 3,
         {"none.safetensors"});
  expect(run_binary("encode --encoder spot_gene --pack '" + pack + "'"), 2, {"--embeddings"});
  expect(run_binary("encode --encoder spot_gene --pack '" + pack + "' --embeddings a.npy"), 2, {"--names"});
  expect(run_binary("encode --encoder spot_gene --pack '" + pack + "' --embeddings a.h5ad --names n"), 2, {".npy"});
  expect(run_binary("encode --encoder spot_gene --pack '" + pack + "' --embeddings '" + (folder / "a.h5ad") + "'"), 3,
         {"a.h5ad"});
  EXPECT_TRUE(test::read_text(pack) == before);
  // a disk that has no room leaves the pack as it was
  const auto ran =
      run_binary(encode_args(pack, kVit), fmt::format("ulimit -f {}; trap '' XFSZ; ", before.size() / 1024 + 2));
  EXPECT_EQ(ran.status, 3) << ran.text;
  EXPECT_TRUE(test::read_text(pack) == before);
  EXPECT_EQ(folder.files(), std::vector<std::string>{"p.h5"});
}

}  // namespace
}  // namespace spn
