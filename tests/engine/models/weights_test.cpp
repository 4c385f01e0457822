// Other people's encoders: names, shapes, dtypes, position embeddings as timm resamples them, refusals, the checksum.
#include "engine/models/weights.h"

#include <gtest/gtest.h>

#include "engine/ckpt/safetensors.h"
#include "engine/models/resample.h"
#include "engine/models/resnet.h"
#include "engine/nn/layers.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace spn::models {
namespace {

using test::error_of;
using test::has;

constexpr VitSize kSmall{16, 4, 8, 2, 2, 12};

nn::Registry& vit(nn::Registry& r, const VitSize& size = kSmall) {
  (void)ViT(r.root() / "niche_image" / "backbone", size);
  return r;
}

nn::Registry& resnet(nn::Registry& r, bool imagenet, std::int64_t out = 6) {
  (void)ResNet(r.root() / "spot_image" / "backbone", {2, 1}, 4, imagenet, out);
  return r;
}

using Named = std::map<std::string, Tensor>;

// What is below the prefix, by the names of timm or torchvision; every value different.
Named theirs(const nn::Registry& r, const std::string& prefix) {
  Named out;
  std::uint64_t stream = 1;
  for (const auto& e : r.entries())
    out[e.name.substr(prefix.size())] = e.value().dtype() == DType::i64
                                            ? Tensor::from(std::vector<std::int64_t>{7}, {})
                                            : test::random(e.value().shape(), stream++, DType::f32);
  return out;
}

void write(const std::string& path, const Named& tensors) {
  std::vector<ckpt::NamedTensor> list;
  for (const auto& [name, t] : tensors) list.push_back({name, t});
  ckpt::write_safetensors(path, list);
}

const Tensor& value(const nn::Registry& r, const std::string& name) {
  for (const auto& e : r.entries())
    if (e.name == name) return e.value();
  fail("test", "no {}", name);
}

void expect_equal(const nn::Registry& r, const std::string& prefix, const Named& want) {
  for (const auto& [name, t] : want)
    EXPECT_EQ(value(r, prefix + name).to_vector<double>(), t.to(DType::f32).to_vector<double>()) << name;
}

TEST(Weights, PositionsAreResampledAsTimmDoes) {
  const test::Golden golden("pos_embed");
  ASSERT_GE(golden.cases().size(), 10U);
  for (const std::string& name : golden.cases()) {
    const auto at = name.find("to");
    const std::int64_t from = std::stoll(name.substr(0, at)), to = std::stoll(name.substr(at + 2));
    const Tensor in = golden.tensor(name + ".in"), want = golden.tensor(name + ".out");
    const Tensor got = resample_position(in, from, to);
    EXPECT_TRUE(test::close(got, want, test::tolerance(DType::f32, 16))) << name;
    EXPECT_EQ(got.narrow(1, 0, 1).to_vector<float>(), in.narrow(1, 0, 1).to_vector<float>()) << "class token " << name;
  }
  const Tensor same = test::random({1, 10, 2}, 3, DType::f32);
  EXPECT_TRUE(resample_position(same, 3, 3).shares_storage_with(same));
  EXPECT_THROW((void)resample_position(same, 2, 3), Error);
}

TEST(Weights, VitFromTimmNames) {
  const test::TempFolder folder;
  nn::Registry r(1), made(2);
  vit(r);
  const Named file = theirs(vit(made), kVitPrefix);
  write(folder / "timm.safetensors", file);
  const auto loaded = load_vit(r, kSmall, folder / "timm.safetensors");
  EXPECT_EQ(loaded.tensors, static_cast<std::int64_t>(file.size()));
  EXPECT_TRUE(loaded.notes.empty()) << loaded.notes[0];
  expect_equal(r, kVitPrefix, file);

  // the same below our prefix, beside other parts, as in our checkpoints
  Named ours{{"heads.spot.0.weight", test::random({2}, 1, DType::f32)}};
  for (const auto& [name, t] : file) ours[kVitPrefix + name] = t;
  write(folder / "model.safetensors", ours);
  nn::Registry again(3);
  EXPECT_TRUE(has(load_vit(vit(again), kSmall, folder.path()).notes.at(0), "1 tensors of other parts"));
  EXPECT_EQ(weights_checksum(again, kVitPrefix), weights_checksum(r, kVitPrefix));
}

TEST(Weights, HalfAndDoubleBecomeFloat) {
  const test::TempFolder folder;
  nn::Registry made(2);
  vit(made);
  for (const DType dtype : {DType::bf16, DType::f64}) {
    Named file = theirs(made, kVitPrefix);
    for (auto& [name, t] : file) t = t.to(dtype);
    write(folder / "t.safetensors", file);
    nn::Registry r(1);
    (void)load_vit(vit(r), kSmall, folder / "t.safetensors");
    expect_equal(r, kVitPrefix, file);
    EXPECT_EQ(r.entries()[0].value().dtype(), DType::f32);
  }
}

TEST(Weights, VitOfAnotherGridWithHeadAndWithoutLayerScale) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  VitSize larger = kSmall;
  larger.px = 24;  // 6 x 6 positions instead of 4 x 4
  Named file = theirs(vit(made, larger), kVitPrefix);
  std::erase_if(file, [](const auto& t) { return t.first.ends_with("gamma"); });
  file["head.weight"] = test::random({5, 8}, 90, DType::f32);
  file["head.bias"] = test::random({5}, 91, DType::f32);
  write(folder / "t.safetensors", file);
  const auto loaded = load_vit(vit(r), kSmall, folder / "t.safetensors");
  ASSERT_EQ(loaded.notes.size(), 3U);
  EXPECT_TRUE(has(loaded.notes[0], "2 tensors of the classifier head"));
  EXPECT_TRUE(has(loaded.notes[1], "6 x 6 positions was resampled to 4 x 4"));
  EXPECT_TRUE(has(loaded.notes[2], "its 4 factors are 1"));
  const Tensor want = resample_position(file["pos_embed"], 6, 4);
  for (const char* name : {"pos_embed", "head.weight", "head.bias"}) file.erase(name);
  file["pos_embed"] = want;
  file["blocks.1.ls2.gamma"] = Tensor::full({8}, 1);
  expect_equal(r, kVitPrefix, file);
}

TEST(Weights, OneErrorNamesEverythingAndNothingChanges) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  Named file = theirs(vit(made), kVitPrefix);
  file.erase("blocks.0.attn.qkv.bias");
  file["norm.weight"] = test::random({9}, 5, DType::f32);
  file["extra"] = test::random({3}, 6, DType::f32);
  file["norm.bias"] = Tensor::from(std::vector<std::int64_t>(8), {8});
  write(folder / "t.safetensors", file);
  const std::string before = weights_checksum(vit(r), kVitPrefix);
  const std::string error = error_of(ErrorKind::data, [&] { (void)load_vit(r, kSmall, folder / "t.safetensors"); });
  for (const char* says : {"t.safetensors", "4 tensors differ", "missing blocks.0.attn.qkv.bias [24]",
                           "norm.weight: expected shape [8], got [9]", "unexpected extra [3]",
                           "norm.bias: expected f32, got I64", "niche_image.backbone"})
    EXPECT_TRUE(has(error, says)) << says << "\n" << error;
  EXPECT_EQ(weights_checksum(r, kVitPrefix), before);
}

TEST(Weights, RefusesOtherArchitecturesByName) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  const Named file = theirs(vit(made), kVitPrefix);
  vit(r);
  const auto refused = [&](const Named& changes) {
    Named all = file;
    for (const auto& [name, t] : changes) all[name] = t;
    write(folder / "t.safetensors", all);
    return error_of(ErrorKind::data, [&] { (void)load_vit(r, kSmall, folder / "t.safetensors"); });
  };
  const auto zeros = [](const Shape& s) { return Tensor::zeros(s); };
  const std::string uni2 = refused({{"reg_token", zeros({1, 8, 1536})},
                                    {"patch_embed.proj.weight", zeros({1536, 3, 14, 14})},
                                    {"pos_embed", zeros({1, 256, 1536})}});
  EXPECT_TRUE(has(uni2, "UNI2-h") && has(uni2, "use UNI")) << uni2;
  EXPECT_TRUE(has(refused({{"reg_token", zeros({1, 4, 8})}}), "register tokens"));
  EXPECT_TRUE(has(refused({{"fc_norm.weight", zeros({8})}}), "averages its patches"));
  EXPECT_TRUE(has(refused({{"patch_embed.proj.weight", zeros({8, 3, 8, 8})}}), "set --vit-patch 8"));
  // positions that are no square, and without a class token
  EXPECT_TRUE(has(refused({{"pos_embed", zeros({1, 13, 8})}}), "12 is no square"));
  EXPECT_TRUE(has(refused({{"pos_embed", zeros({1, 16, 8})}}), "15 is no square"));
}

TEST(Weights, ResNetFromTorchvisionDropsTheClassifier) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  Named file = theirs(resnet(made, true), kResNetPrefix);
  resnet(r, true);
  const auto fc = value(r, "spot_image.backbone.fc.weight").to_vector<float>();
  file["fc.weight"] = test::random({1000, 32}, 8, DType::f32);
  file["fc.bias"] = test::random({1000}, 9, DType::f32);
  file.erase("layer1.0.bn1.num_batches_tracked");
  write(folder / "t.safetensors", file);
  const auto loaded = load_resnet(r, folder / "t.safetensors");
  ASSERT_EQ(loaded.notes.size(), 2U);
  EXPECT_TRUE(has(loaded.notes[0], "fc of 1000 classes was dropped"));
  EXPECT_TRUE(has(loaded.notes[1], "1 counters"));
  EXPECT_EQ(loaded.tensors, static_cast<std::int64_t>(file.size()) - 2);
  EXPECT_EQ(value(r, "spot_image.backbone.fc.weight").to_vector<float>(), fc);
  file.erase("fc.weight");
  file.erase("fc.bias");
  expect_equal(r, kResNetPrefix, file);

  write(folder / "t.safetensors", file);  // timm with num_classes = 0
  EXPECT_TRUE(has(load_resnet(r, folder / "t.safetensors").notes.at(0), "has no fc"));
  nn::Registry small(1);
  resnet(small, false);
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { (void)load_resnet(small, folder / "t.safetensors"); }),
                  "set --resnet-stem imagenet"));
  file["fc.weight"] = test::random({1000, 31}, 8, DType::f32);
  write(folder / "t.safetensors", file);
  const std::string error = error_of(ErrorKind::data, [&] { (void)load_resnet(r, folder / "t.safetensors"); });
  EXPECT_TRUE(has(error, "fc.weight: expected shape [6, 32], got [1000, 31]") && has(error, "missing fc.bias"));
}

TEST(Weights, ResNetFromThePublishedNames) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  const Named want = theirs(resnet(made, false), kResNetPrefix);
  Named file;
  const std::pair<std::string, std::string> parts[] = {
      {"conv1", "residual_function.0"}, {"bn1", "residual_function.1"},   {"conv2", "residual_function.3"},
      {"bn2", "residual_function.4"},   {"conv3", "residual_function.6"}, {"bn3", "residual_function.7"},
      {"downsample.0", "shortcut.0"},   {"downsample.1", "shortcut.1"}};
  for (const auto& [name, t] : want) {
    std::string published = name;
    if (name.starts_with("conv1.")) published = "conv1.0." + name.substr(6);
    if (name.starts_with("bn1.")) published = "conv1.1." + name.substr(4);
    if (name.starts_with("layer")) {
      const std::string rest = name.substr(9);  // after "layer1.0."
      for (const auto& [ours, of] : parts)
        if (rest.starts_with(ours + "."))
          published = "conv" + std::string(1, static_cast<char>(name[5] + 1)) + "_x." + name.substr(7, 2) + of +
                      rest.substr(ours.size());
    }
    file[published] = t;
  }
  ASSERT_TRUE(file.count("conv3_x.0.shortcut.1.running_var"));
  ASSERT_TRUE(file.count("conv2_x.1.residual_function.6.weight"));
  write(folder / "t.safetensors", file);
  const auto loaded = load_resnet(resnet(r, false), folder / "t.safetensors");
  ASSERT_EQ(loaded.notes.size(), 1U);
  expect_equal(r, kResNetPrefix, want);
  // short names that begin like theirs are named, as any other
  for (const char* name : {"conv", "conv9", "conv2_x", "conv2_x."}) {
    Named more = file;
    more[name] = Tensor::zeros({2});
    write(folder / "t.safetensors", more);
    const std::string error = error_of(ErrorKind::data, [&] { (void)load_resnet(r, folder / "t.safetensors"); });
    EXPECT_TRUE(has(error, "unexpected " + std::string(name) + " [2]")) << error;
  }
}

// The whole names of a model, of few tensors.
void parts(nn::Registry& r) {
  resnet(r, false);
  for (const char* name : {"spot", "niche"}) {
    (void)nn::Linear(r.root() / "heads" / name / "0", 3, 2);
    (void)nn::Linear(r.root() / (std::string(name) + "_fusion") / "image_ffn" / "0", 3, 2);
    r.root().parameter(std::string(name) + "_fusion.norm.weight", {2}, nn::Init::constant(1));
  }
}

TEST(Weights, OurNamesOfWholePartsAndNeverWithHoles) {
  const test::TempFolder folder;
  nn::Registry made(2), r(1);
  parts(made);
  parts(r);
  const Named all = theirs(made, "");
  const auto load_without = [&](const std::vector<std::string>& left_out) {
    Named file = all;
    std::erase_if(file, [&](const auto& t) {
      return std::any_of(left_out.begin(), left_out.end(), [&](const auto& l) { return t.first.starts_with(l); });
    });
    write(folder / "t.safetensors", file);
    return load_ours(r, folder / "t.safetensors");
  };
  EXPECT_TRUE(load_without({}).notes.empty());
  expect_equal(r, "", all);
  const auto some = load_without({"heads.spot.", "niche_fusion.", "spot_image.backbone.fc."});
  ASSERT_EQ(some.notes.size(), 3U);
  EXPECT_TRUE(has(some.notes[0], "2 tensors of heads.spot are not")) << some.notes[0];
  EXPECT_TRUE(has(some.notes[1], "3 tensors of niche_fusion are not")) << some.notes[1];
  EXPECT_TRUE(has(some.notes[2], "2 tensors of spot_image.backbone.fc are not")) << some.notes[2];
  const auto no_heads = load_without({"heads."});
  ASSERT_EQ(no_heads.notes.size(), 1U);
  EXPECT_TRUE(has(no_heads.notes[0], "4 tensors of heads are not")) << no_heads.notes[0];
  EXPECT_TRUE(has(load_without({"spot_image.backbone.bn1.num_batches_tracked"}).notes.at(0), "1 counters"));

  const std::string before = weights_checksum(r, "");
  const std::string error = error_of(ErrorKind::data, [&] {
    (void)load_without({"heads.spot.0.weight", "niche_fusion.norm", "spot_image.backbone.bn1.running_var",
                        "spot_image.backbone.fc.bias", "heads.niche."});
  });
  for (const char* says : {"4 tensors differ", "missing heads.spot.0.weight [2, 3]", "missing niche_fusion.norm.weight",
                           "missing spot_image.backbone.bn1.running_var", "missing spot_image.backbone.fc.bias",
                           "one that is there must be complete"})
    EXPECT_TRUE(has(error, says)) << says << "\n" << error;
  EXPECT_FALSE(has(error, "heads.niche")) << error;
  EXPECT_EQ(weights_checksum(r, ""), before);
}

TEST(Weights, ChecksumSeesNamesShapesAndValuesAlone) {
  nn::Registry a(1), b(1), c(2);
  resnet(a, false);
  (b.root() / "heads").parameter("weight", {2}, nn::Init::constant(1));  // other parts do not matter
  resnet(b, false);
  resnet(c, false);
  const std::string sum = weights_checksum(a, kResNetPrefix);
  EXPECT_EQ(sum.size(), 64U);
  EXPECT_EQ(weights_checksum(b, kResNetPrefix), sum);
  EXPECT_NE(weights_checksum(c, kResNetPrefix), sum);
  value(a, "spot_image.backbone.bn1.num_batches_tracked").fill(9);
  EXPECT_EQ(weights_checksum(a, kResNetPrefix), sum);
  value(a, "spot_image.backbone.bn1.running_var").narrow(0, 3, 1).fill(1.0000002);
  EXPECT_NE(weights_checksum(a, kResNetPrefix), sum);
}

}  // namespace
}  // namespace spn::models
