// import and export: round trips bit for bit, folders that Python reads, PyTorch's embeddings, and what is not
// replaced.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/ckpt/safetensors.h"
#include "engine/core/json.h"
#include "tests/support/cli_run.h"
#include "tests/support/find_python.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::made_data;
using test::run_binary;
using Named = std::map<std::string, Tensor>;

// A run of the small model, 20 steps.
const std::string& trained() {
  static const test::TempFolder folder;
  static const std::string run = [] {
    const auto ran = run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + (folder / "run") +
                                "' --global-batch 16 --steps 20 --warmup-steps 5" + test::kSmallModel);
    check(ran.status == 0, "test", "training failed:\n{}", ran.text);
    return folder / "run";
  }();
  return run;
}
std::string checkpoint() { return trained() + "/checkpoints/step-00000020"; }

// The sizes of kSmallModel and its packs.
std::string sizes() {
  return std::string(test::kSmallModel) + "--spot-image-px 16 --niche-image-px 32 --genes 64 --spot-gene-width 64 ";
}

void write(const std::string& path, const Named& tensors) {
  std::vector<ckpt::NamedTensor> list;
  for (const auto& [name, t] : tensors) list.push_back({name, t});
  ckpt::write_safetensors(path, list);
}

// The encoder below the prefix, every value new, as another library would have saved it.
Named foreign(const std::string& prefix) {
  Named out;
  std::uint64_t stream = 100;
  for (const auto& [name, t] : test::read_weights(checkpoint()))
    if (name.starts_with(prefix))
      out[name.substr(prefix.size())] =
          t.dtype() == DType::i64 ? t.clone() : test::random(t.shape(), stream++, DType::f32);
  return out;
}

void expect_same_file(const std::string& folder, const Named& want) {
  const Named got = test::read_weights(folder);
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, t] : want) {
    ASSERT_EQ(got.at(name).dtype(), t.dtype()) << name;
    ASSERT_EQ(got.at(name).shape(), t.shape()) << name;
    ASSERT_EQ(std::memcmp(got.at(name).view().data, t.view().data, t.bytes()), 0) << name;
  }
}

void run(const std::string& args) {
  const auto ran = run_binary(args);
  ASSERT_EQ(ran.status, 0) << args << "\n" << ran.text;
}

TEST(Export, TimmRoundTripsBitForBit) {
  const test::TempFolder folder;
  for (const bool layer_scale : {true, false}) {
    Named vit = foreign("niche_image.backbone.");
    if (!layer_scale) std::erase_if(vit, [](const auto& t) { return t.first.ends_with("gamma"); });
    ASSERT_GE(vit.size(), 14U);
    write(folder / "timm.safetensors", vit);
    run("import --weights '" + (folder / "timm.safetensors") + "' --part niche_image --output '" + (folder / "ours") +
        "'" + sizes());
    run("export --checkpoint '" + (folder / "ours") + "' --part niche_image --names timm --output '" +
        (folder / "theirs") + "'");
    expect_same_file(folder / "theirs", vit);
    const std::string said = fs::path(folder.path()).filename().string() + "/timm.safetensors`, checksum";
    EXPECT_NE(test::read_text(folder / "theirs/README.md").find("Imported from `" + said), std::string::npos);
    const auto config = parse_json(test::read_text(folder / "theirs/config.json"));
    EXPECT_EQ(config.at("layer_scale"), layer_scale);
    EXPECT_EQ(config.at("depth"), 1);
  }
  // what import wrote begins a run
  run("pretrain --pack '" + made_data().train_pack + "' --output '" + (folder / "run") +
      "' --global-batch 16 --steps 1 --vit-frozen --init '" + (folder / "ours") + "'" + test::kSmallModel);
  const Named ours = test::read_weights(folder / "ours"),
              after = test::read_weights(folder / "run/checkpoints/step-00000001");
  for (const auto& [name, t] : ours) EXPECT_EQ(after.at(name).to_vector<float>(), t.to_vector<float>()) << name;
}

TEST(Export, TorchvisionRoundTripsBitForBitButForTheClassifier) {
  const test::TempFolder folder;
  Named resnet = foreign("spot_image.backbone.");
  const auto round = [&] {
    write(folder / "theirs.safetensors", resnet);
    run("import --weights '" + (folder / "theirs.safetensors") + "' --part spot_image --names torchvision --output '" +
        (folder / "ours") + "'" + sizes());
    run("export --checkpoint '" + (folder / "ours") + "' --part spot_image --output '" + (folder / "back") + "'");
  };
  round();  // fc of our width stays
  expect_same_file(folder / "back", resnet);
  resnet["fc.weight"] = test::random({1000, resnet.at("fc.weight").dim(1)}, 7, DType::f32);
  resnet["fc.bias"] = test::random({1000}, 8, DType::f32);
  round();
  resnet.erase("fc.weight");
  resnet.erase("fc.bias");
  expect_same_file(folder / "back", resnet);
  EXPECT_EQ(parse_json(test::read_text(folder / "back/config.json")).at("num_classes"), 0);
}

TEST(Export, WholeModelRoundTripsAndSaysWhatIsKnown) {
  const test::TempFolder folder;
  run("export --checkpoint '" + trained() + "' --output '" + (folder / "out/model") + "'");
  expect_same_file(folder / "out/model", test::read_weights(checkpoint()));
  run("import --weights '" + (folder / "out/model") + "' --part model --output '" + (folder / "again") + "'" + sizes());
  expect_same_file(folder / "again", test::read_weights(checkpoint()));
  const auto config = parse_json(test::read_text(folder / "again/config.json"));
  EXPECT_EQ(config.at("gene_names"), parse_json(test::read_text(checkpoint() + "/config.json")).at("gene_names"));

  const std::string card = test::read_text(folder / "out/model/README.md");
  const auto last = parse_json([&] {
    std::istringstream in(test::read_text(trained() + "/metrics.jsonl"));
    std::string line, end;
    while (std::getline(in, line)) end = line;
    return end;
  }());
  for (const std::string& says :
       {std::string("| packs | train.h5 |"), std::string("| slides | 2 |"), std::string("| pairs | 96 |"),
        std::string("| Steps, epoch, pairs seen | 20,"), "| loss | " + json_text(last.at("loss")) + " |",
        std::string("CC BY-NC-ND 4.0"), std::string("CC BY-NC-SA 4.0")})
    EXPECT_NE(card.find(says), std::string::npos) << says << "\n" << card;
  EXPECT_EQ(card.find(made_data().folder.path()), std::string::npos) << "paths of this machine in a public card";

  // the same model: the same embeddings
  run("embed --checkpoint '" + (folder / "out/model") + "' --pack '" + made_data().held_out_pack + "' --output '" +
      (folder / "a.h5ad") + "'");
}

TEST(Export, LeavesOutWhatMayNotBePassedOn) {
  const test::TempFolder folder;
  run("export --checkpoint '" + trained() + "' --output '" + (folder / "out") +
      "' --leave-out 'niche_image.backbone.*'");
  Named want = test::read_weights(checkpoint());
  std::erase_if(want, [](const auto& t) { return t.first.starts_with("niche_image.backbone."); });
  expect_same_file(folder / "out", want);
  EXPECT_NE(test::read_text(folder / "out/README.md").find("`niche_image.backbone.*` were left out"),
            std::string::npos);
  const auto ran = run_binary("export --checkpoint '" + (folder / "out") + "' --output '" + (folder / "b") + "'");
  EXPECT_EQ(ran.status, 3) << ran.text;
  EXPECT_NE(ran.text.find("lacks 20 tensors"), std::string::npos) << ran.text;
}

TEST(Export, AveragesTakeThePlaceOfTheLastValues) {
  const test::TempFolder folder;
  run("pretrain --pack '" + made_data().train_pack + "' --output '" + (folder / "run") +
      "' --global-batch 16 --steps 3 --warmup-steps 0 --ema-decay 0.5 --vit-frozen" + test::kSmallModel);
  const std::string from = "export --checkpoint '" + (folder / "run") + "' --output '" + (folder / "out") + "'";
  const std::string last = folder / "run/checkpoints/step-00000003";
  run(from);
  expect_same_file(folder / "out", test::read_weights(last));
  run(from + " --ema");
  Named want = test::read_weights(last);
  const ckpt::SafetensorsReader averages(last + "/ema.safetensors");
  ASSERT_GT(averages.tensors().size(), 100U);
  ASSERT_FALSE(averages.contains("niche_image.backbone.cls_token"));  // frozen: the model's
  for (const auto& [name, info] : averages.tensors()) want.insert_or_assign(name, averages.load(name));
  expect_same_file(folder / "out", want);
  EXPECT_NE(want.at("heads.spot.0.weight").to_vector<float>(),
            test::read_weights(last).at("heads.spot.0.weight").to_vector<float>());
  EXPECT_NE(test::read_text(folder / "out/README.md").find("| Weights | averages"), std::string::npos);
  EXPECT_EQ(run_binary("export --checkpoint '" + trained() + "' --ema --output '" + (folder / "no") + "'").status, 3);
}

// timm's own model, at another size of image: what import made of it is what timm makes of it.
TEST(Export, TimmsModelIsReadAsTimmReadsIt) {
  SPN_FIND_PYTHON(python, "safetensors");
  if (std::system((python + " -c 'import timm, torch' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "timm is not installed: its models were not compared";
  const test::TempFolder folder;
  std::ofstream(folder / "timm_model.py") << R"(
import sys, timm, torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
folder = sys.argv[2]
size = dict(patch_size=8, embed_dim=16, depth=1, num_heads=2, mlp_ratio=2, init_values=1e-5)
if sys.argv[1] == "save":
    torch.manual_seed(3)
    model = VisionTransformer(img_size=56, num_classes=5, **size)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    save_file(model.state_dict(), f"{folder}/model.safetensors")
else:
    model = VisionTransformer(img_size=32, num_classes=0, **size)
    saved = load_file(f"{folder}/model.safetensors")
    want = {k: v for k, v in checkpoint_filter_fn(saved, model).items() if not k.startswith("head.")}
    got = load_file(f"{folder}/theirs/model.safetensors")
    assert got.keys() == want.keys(), got.keys() ^ want.keys()
    for k, v in want.items():
        assert torch.equal(v, got[k]) if k != "pos_embed" else (v - got[k]).abs().max() <= 2e-6, k
    model.load_state_dict(got)
)";
  const std::string script = python + " '" + (folder / "timm_model.py") + "' ";
  ASSERT_EQ(std::system((script + "save '" + folder.path() + "'").c_str()), 0);
  run("import --weights '" + (folder / "model.safetensors") + "' --part niche_image --output '" + (folder / "ours") +
      "'" + sizes());
  run("export --checkpoint '" + (folder / "ours") + "' --part niche_image --output '" + (folder / "theirs") + "'");
  EXPECT_EQ(std::system((script + "compare '" + folder.path() + "'").c_str()), 0);
}

TEST(Export, ReplacesItsOwnFoldersAlone) {
  const test::TempFolder folder;
  const std::string out = folder / "out", to = "export --checkpoint '" + trained() + "' --output '" + out + "/'";
  const auto refused = [&](const std::string& says) {
    const auto ran = run_binary(to);
    EXPECT_EQ(ran.status, 2) << ran.text;
    EXPECT_NE(ran.text.find(says), std::string::npos) << ran.text;
  };
  fs::create_directory(out);
  run(to);  // an empty folder is free
  std::ofstream(out + "/README.md", std::ios::app) << "edited";
  run(to);  // its own is replaced
  EXPECT_EQ(test::read_text(out + "/README.md").find("edited"), std::string::npos);
  std::ofstream(out + "/notes.txt") << "mine";
  refused("holds notes.txt");
  EXPECT_EQ(test::read_text(out + "/notes.txt"), "mine");
  fs::remove_all(out);
  fs::create_directory(out);
  std::ofstream(out + "/config.json") << "{}";
  refused("is not of an import or export");
  fs::remove_all(out);
  std::ofstream(out) << "a file";
  const auto ran = run_binary("export --checkpoint '" + trained() + "' --output '" + out + "'");
  EXPECT_EQ(ran.status, 2) << ran.text;
  EXPECT_EQ(folder.files(), std::vector<std::string>{"out"}) << "something was left aside";
}

TEST(Export, RefusesWhatCannotBe) {
  const test::TempFolder folder;
  const std::string out = " --output '" + (folder / "out") + "'";
  const auto refused = [&](const std::string& args, int status, const std::string& says) {
    const auto ran = run_binary(args + out);
    EXPECT_EQ(ran.status, status) << args << "\n" << ran.text;
    EXPECT_NE(ran.text.find(says), std::string::npos) << args << "\n" << ran.text;
    EXPECT_FALSE(fs::exists(folder / "out"));
  };
  refused("export --checkpoint '" + trained() + "' --names timm", 2, "expected spotniche");
  refused("export --checkpoint '" + trained() + "' --part niche_image --names torchvision", 2,
          "expected timm or spotniche");
  refused("export --checkpoint '" + trained() + "' --leave-out 'nothing.*'", 2, "matches no tensor");
  refused("export --checkpoint '" + folder.path() + "'", 3, "expected config.json");
  refused("import --part spot_image --weights '" + checkpoint() + "'" + sizes(), 3, "give --names spotniche");
  fs::copy(checkpoint(), folder / "damaged");
  std::ofstream(folder / "damaged/model.safetensors", std::ios::app) << "x";
  refused("export --checkpoint '" + (folder / "damaged") + "'", 3, "longer than it was written");
}

TEST(Export, InspectKnowsTheFolders) {
  const test::TempFolder folder;
  run("export --checkpoint '" + trained() + "' --output '" + (folder / "model") + "'");
  run("export --checkpoint '" + trained() + "' --part niche_image --output '" + (folder / "vit") + "'");
  run("export --checkpoint '" + trained() + "' --leave-out 'niche_image.*' --output '" + (folder / "less") + "'");
  const auto all = "'" + (folder / "model") + "' '" + (folder / "vit") + "' '" + (folder / "less") + "'";
  const auto ran = run_binary("inspect --verify " + all);
  EXPECT_EQ(ran.status, 0) << ran.text;
  for (const char* word : {"a model folder", "timm", "niche_image.*", "verified    whole"})
    EXPECT_NE(ran.text.find(word), std::string::npos) << word << "\n" << ran.text;

  // what import was given may be a part
  Named some = test::read_weights(folder / "model");
  std::erase_if(some,
                [](const auto& t) { return t.first.starts_with("heads.") || t.first.ends_with("batches_tracked"); });
  write(folder / "some.safetensors", some);
  run("import --part model --weights '" + (folder / "some.safetensors") + "' --output '" + (folder / "part") + "'" +
      sizes());
  const auto partial = run_binary("inspect --verify '" + (folder / "part") + "'");
  EXPECT_EQ(partial.status, 0) << partial.text;
  EXPECT_NE(partial.text.find("lacks"), std::string::npos) << partial.text;

  Named tensors = test::read_weights(folder / "model");
  tensors.erase("heads.spot.0.bias");
  tensors["heads.spot.9.bias"] = Tensor::zeros({3});
  write(folder / "model/model.safetensors", tensors);
  const auto damaged = run_binary("inspect --verify '" + (folder / "model") + "'");
  EXPECT_EQ(damaged.status, 3) << damaged.text;
  for (const char* word : {"heads.spot.9.bias", "lacks 1 tensors", "heads.spot.0.bias"})
    EXPECT_NE(damaged.text.find(word), std::string::npos) << word << "\n" << damaged.text;
}

TEST(Export, PythonFindsEveryNameAndShape) {
  SPN_FIND_PYTHON(python, "safetensors, numpy");
  const test::TempFolder folder;
  const std::string script = python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_export.py' '";
  for (const std::string part : {"model", "niche_image", "spot_image"}) {
    run("export --checkpoint '" + trained() + "' --part " + part + " --output '" + (folder / part) + "'");
    EXPECT_EQ(std::system((script + (folder / part) + "' " + part).c_str()), 0);
  }
}

TEST(Export, ExampleInPyTorchEqualsEmbed) {
  SPN_FIND_PYTHON(python, "h5py, safetensors");
  if (std::system((python + " -c 'import torch' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "PyTorch is not installed (launch/local/install.sh --with-torch): docs/examples was not run";
  const test::TempFolder folder;
  run("export --checkpoint '" + trained() + "' --output '" + (folder / "model") + "'");
  run("embed --checkpoint '" + trained() + "' --pack '" + made_data().held_out_pack + "' --output '" +
      (folder / "a.h5ad") + "'");
  const std::string log = folder / "log";
  ASSERT_EQ(std::system((python + " '" + std::string(SPN_SOURCE_DIR) + "/docs/examples/load_in_pytorch.py' '" +
                         (folder / "model") + "' '" + made_data().held_out_pack + "' '" + (folder / "a.h5ad") + "' >'" +
                         log + "' 2>&1")
                            .c_str()),
            0)
      << test::read_text(log);
  std::istringstream lines(test::read_text(log));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto at = line.find("largest difference ");
    ASSERT_NE(at, std::string::npos) << line;
    const double worst = std::stod(line.substr(at + 19));
    EXPECT_TRUE(worst <= 1e-5) << line;
  }
  EXPECT_EQ(count, 6);
}

// Other sizes and kinds: adapter, imagenet stem, learnable temperature, precomputed spot genes.
TEST(Export, ExampleInPyTorchKnowsEveryOption) {
  SPN_FIND_PYTHON(python, "h5py, safetensors");
  if (std::system((python + " -c 'import torch' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "PyTorch is not installed (launch/local/install.sh --with-torch): docs/examples was not run";
  const test::TempFolder folder;
  const std::string options =
      " --niche-adapter --vit-patch 56 --resnet-stem imagenet --learnable-temperature --spot-gene-encoder precomputed ";
  std::ofstream(folder / "cells.py") << R"(
import sys, h5py, numpy
names = [n.decode() for n in h5py.File(sys.argv[1])["spots/name"][:]]
numpy.save(sys.argv[2] + ".npy", numpy.random.default_rng(1).normal(size=(len(names), 16)).astype("f4"))
open(sys.argv[2] + ".txt", "w").write("\n".join(names) + "\n")
)";
  const std::string train = folder / "train.h5", held_out = folder / "held-out.h5";
  for (const auto& [from, pack] : {std::pair(made_data().train_pack, train), {made_data().held_out_pack, held_out}}) {
    fs::copy_file(from, pack);
    ASSERT_EQ(std::system((python + " '" + (folder / "cells.py") + "' '" + pack + "' '" + pack + "'").c_str()), 0);
    run("encode --encoder spot_gene --pack '" + pack + "' --embeddings '" + pack + ".npy' --names '" + pack + ".txt'");
  }
  std::string small = test::kSmallModel;
  small.replace(small.find("--vit-patch 8"), 13, "");
  run("pretrain --pack '" + train + "' --output '" + (folder / "run") +
      "' --global-batch 16 --steps 4 --warmup-steps 1" + small + options);
  run("export --checkpoint '" + (folder / "run") + "' --output '" + (folder / "model") + "'");
  run("embed --checkpoint '" + (folder / "model") + "' --pack '" + held_out + "' --output '" + (folder / "a.h5ad") +
      "'");
  EXPECT_EQ(std::system((python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_export.py' '" +
                         (folder / "model") + "' model")
                            .c_str()),
            0);
  const std::string log = folder / "log";
  ASSERT_EQ(std::system((python + " '" + std::string(SPN_SOURCE_DIR) + "/docs/examples/load_in_pytorch.py' '" +
                         (folder / "model") + "' '" + held_out + "' '" + (folder / "a.h5ad") + "' >'" + log + "' 2>&1")
                            .c_str()),
            0)
      << test::read_text(log);
  std::istringstream lines(test::read_text(log));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_TRUE(std::stod(line.substr(line.find("difference ") + 11)) <= 1e-5) << line;
  EXPECT_EQ(count, 6);
}

}  // namespace
}  // namespace spn
