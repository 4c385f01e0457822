// pretrain --init, --niche-image-weights, --spot-image-weights: what is read, said, recorded, refused and not read
// twice.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/ckpt/safetensors.h"
#include "engine/core/json.h"
#include "tests/support/cli_run.h"
#include "tests/support/find_python.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::checkpoint;
using test::made_data;
using test::run_binary;
using Named = std::map<std::string, Tensor>;

// One step: the warm-up begins at a learning rate of 0, so that parameters end as they began.
test::Ran pretrain(const std::string& run_dir, const std::string& more, int ranks = 1, int steps = 1) {
  return run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + run_dir +
                        "' --global-batch 16 --steps " + std::to_string(steps) + test::kSmallModel + more,
                    test::on_ranks(ranks));
}

// Three steps of another seed: weights that no fresh run has.
const std::string& trained() {
  static const test::TempFolder folder;
  static const std::string run = [] {
    const auto ran = pretrain(folder / "run", "--seed 7 --warmup-steps 0", 1, 3);
    check(ran.status == 0, "test", "training failed:\n{}", ran.text);
    return checkpoint(folder / "run", 3);
  }();
  return run;
}

void write(const std::string& path, const Named& tensors) {
  std::vector<ckpt::NamedTensor> list;
  for (const auto& [name, t] : tensors) list.push_back({name, t});
  ckpt::write_safetensors(path, list);
}

// Below the prefix, without it.
Named below(const Named& all, const std::string& prefix) {
  Named out;
  for (const auto& [name, t] : all)
    if (name.starts_with(prefix)) out[name.substr(prefix.size())] = t;
  return out;
}

bool is_statistic(const std::string& name) {
  return name.find("running_") != std::string::npos || name.ends_with("num_batches_tracked");
}

void expect_parameters(const Named& got, const Named& want) {
  int compared = 0;
  for (const auto& [name, t] : want) {
    if (is_statistic(name)) continue;
    ASSERT_EQ(got.at(name).to_vector<float>(), t.to_vector<float>()) << name;
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

std::vector<nlohmann::json> events(const std::string& run_dir, const std::string& kind) {
  std::ifstream in(run_dir + "/events.jsonl");
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(in, line);)
    if (auto j = parse_json(line); j.at("event") == kind) out.push_back(std::move(j));
  return out;
}

TEST(StartWeights, InitTakesAWholeModel) {
  const test::TempFolder folder;
  const auto ran = pretrain(folder / "run", "--init '" + trained() + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  expect_parameters(test::read_weights(checkpoint(folder / "run", 1)), test::read_weights(trained()));
  const auto read = events(folder / "run", "weights");
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].at("option"), "init");
  EXPECT_EQ(read[0].at("notes"), "");
  ASSERT_EQ(events(folder / "run", "data").size(), 1U);
  EXPECT_EQ(events(folder / "run", "data")[0].at("slides"), 2);
  // a run directory is its newest checkpoint
  const auto again =
      pretrain(folder / "again", "--init '" + fs::path(trained()).parent_path().parent_path().string() + "'");
  ASSERT_EQ(again.status, 0) << again.text;
  EXPECT_EQ(test::read_text(checkpoint(folder / "again", 1) + "/model.safetensors"),
            test::read_text(checkpoint(folder / "run", 1) + "/model.safetensors"));
}

TEST(StartWeights, InitWithPartsCountsWhatStartsFresh) {
  const test::TempFolder folder;
  Named heads;
  for (const auto& [name, t] : test::read_weights(trained()))
    if (name.starts_with("heads.")) heads[name] = t;
  write(folder / "heads.safetensors", heads);
  ASSERT_EQ(pretrain(folder / "fresh", "").status, 0);
  const auto ran = pretrain(folder / "run", "--init '" + (folder / "heads.safetensors") + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("8 tensors of niche_fusion"), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find("tensors of heads are not"), std::string::npos) << ran.text;
  const Named got = test::read_weights(checkpoint(folder / "run", 1));
  expect_parameters(got, heads);
  Named rest = test::read_weights(checkpoint(folder / "fresh", 1));
  std::erase_if(rest, [](const auto& t) { return t.first.starts_with("heads."); });
  expect_parameters(got, rest);
}

TEST(StartWeights, EncodersFromTimmAndTorchvisionNames) {
  const test::TempFolder folder;
  const Named all = test::read_weights(trained());
  write(folder / "vit.safetensors", below(all, "niche_image.backbone."));
  Named resnet = below(all, "spot_image.backbone.");
  resnet["fc.weight"] = Tensor::zeros({1000, resnet.at("fc.weight").dim(1)});
  resnet["fc.bias"] = Tensor::zeros({1000});
  write(folder / "resnet.safetensors", resnet);
  const std::string options = "--vit-frozen --niche-image-weights '" + (folder / "vit.safetensors") +
                              "' --spot-image-weights '" + (folder / "resnet.safetensors") + "'";
  auto ran = pretrain(folder / "run", options, 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("fc of 1000 classes was dropped"), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find("frozen at random"), std::string::npos) << ran.text;
  const Named got = test::read_weights(checkpoint(folder / "run", 1));
  expect_parameters(below(got, "niche_image.backbone."), below(all, "niche_image.backbone."));
  resnet.erase("fc.weight");
  resnet.erase("fc.bias");
  expect_parameters(below(got, "spot_image.backbone."), resnet);
  const auto read = events(folder / "run", "weights");
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].at("checksum").get<std::string>().size(), 64U);
  EXPECT_NE(read[0].at("checksum"), read[1].at("checksum"));

  // resumed: the files are no longer needed
  fs::remove(folder / "vit.safetensors");
  fs::remove(folder / "resnet.safetensors");
  ran = run_binary("pretrain --config '" + (folder / "run/config.cfg") + "' --steps 2");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("are not read again"), std::string::npos) << ran.text;
  EXPECT_EQ(events(folder / "run", "weights").size(), 2U);
}

// The licence of weights follows what is made from them: through runs, exports and packs.
TEST(StartWeights, SourcesAreNamedByWhatIsMadeFromThem) {
  const test::TempFolder folder;
  fs::create_directory(folder / "uni");
  write(folder / "uni/model.safetensors", below(test::read_weights(trained()), "niche_image.backbone."));
  const auto run = [](const std::string& args) {
    const auto ran = run_binary(args);
    EXPECT_EQ(ran.status, 0) << args << "\n" << ran.text;
  };
  const auto card = [&](const std::string& from, const std::string& more = "") {
    run("export --checkpoint '" + from + "' --output '" + (folder / "out") + "' " + more);
    const std::string text = test::read_text(folder / "out/README.md");
    EXPECT_EQ(text.find(folder.path()), std::string::npos) << "paths of this machine in a public card";
    return text;
  };
  auto ran = pretrain(folder / "run", "--vit-frozen --ema-decay 0.5 --niche-image-weights '" + (folder / "uni") + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  const std::string sum = events(folder / "run", "weights").at(0).at("checksum");
  std::string text = card(folder / "run");
  EXPECT_NE(text.find("`--niche-image-weights` `uni/model.safetensors`, checksum " + sum), std::string::npos) << text;

  // a run that begins with the export, and what is exported of it
  const std::string known = "niche-image-weights uni/model.safetensors (checksum " + sum + ")";
  ran = pretrain(folder / "second", "--vit-frozen --init '" + (folder / "out") + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(events(folder / "second", "weights").at(0).at("made_from"), known);
  text = card(folder / "second");
  EXPECT_NE(text.find("`--init` `out/model.safetensors`, made from " + known), std::string::npos) << text;
  text = card(folder / "out");  // an export of the export
  EXPECT_NE(text.find("made from " + known), std::string::npos) << text;

  // a run that goes on elsewhere
  ran = pretrain(folder / "elsewhere", "--vit-frozen --ema-decay 0.5 --resume '" + (folder / "run") + "'", 1, 2);
  ASSERT_EQ(ran.status, 0) << ran.text;
  ASSERT_EQ(events(folder / "elsewhere", "data").size(), 1U);
  ASSERT_EQ(events(folder / "elsewhere", "weights").size(), 1U);
  text = card(folder / "elsewhere");
  EXPECT_NE(text.find("`--niche-image-weights` `uni/model.safetensors`, checksum " + sum), std::string::npos) << text;
  EXPECT_NE(text.find("| packs | train.h5 |"), std::string::npos) << text;

  // a frozen encoder has no averages, whatever was asked for
  text = card(folder / "run", "--ema --part niche_image");
  EXPECT_EQ(text.find("averages"), std::string::npos) << text;
  EXPECT_NE(card(folder / "run", "--ema --part spot_image").find("| Weights | averages"), std::string::npos);

  // features in place of images
  const std::string pack = folder / "train.h5";
  fs::copy_file(made_data().train_pack, pack);
  run("encode --pack '" + pack + "' --weights '" + (folder / "run") + "'");
  run("pretrain --pack '" + pack + "' --output '" + (folder / "cached") +
      "' --global-batch 16 --steps 1 --vit-frozen --features require --init '" + trained() + "'" + test::kSmallModel);
  text = card(folder / "cached");
  EXPECT_NE(text.find("step-00000001/model.safetensors`, checksum " + sum), std::string::npos) << text;
}

TEST(StartWeights, RunsWithoutACheckpointAreRefusedAlike) {
  const test::TempFolder folder;
  const std::string empty = folder / "empty", out = " --output '" + (folder / "out") + "' ";
  fs::create_directories(empty + "/checkpoints");
  const std::string pack = " --pack '" + made_data().train_pack + "' ";
  const std::string train = "pretrain" + pack + out + "--global-batch 16 --steps 1" + test::kSmallModel;
  for (const std::string& args :
       {train + "--init '" + empty + "'", train + "--resume '" + empty + "'",
        "export --checkpoint '" + empty + "'" + out, "embed --checkpoint '" + empty + "'" + pack + out,
        "evaluate --checkpoint '" + empty + "'" + pack + out, "encode --weights '" + empty + "'" + pack}) {
    const auto ran = run_binary(args);
    EXPECT_EQ(ran.status, 3) << args << "\n" << ran.text;
    EXPECT_NE(ran.text.find(empty + " holds no whole checkpoint yet; train longer"), std::string::npos) << args << "\n"
                                                                                                        << ran.text;
  }
}

TEST(StartWeights, FrozenAtRandomIsSaid) {
  const test::TempFolder folder;
  const auto ran = pretrain(folder / "run", "--vit-frozen");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("frozen at random values"), std::string::npos) << ran.text;
}

TEST(StartWeights, WhatDoesNotFitEndsAllRanks) {
  const test::TempFolder folder;
  const auto refused = [&](const std::string& options, const std::string& says, int ranks = 1) {
    const auto ran = pretrain(folder / "run", options, ranks);
    EXPECT_EQ(ran.status, 3) << ran.text;
    EXPECT_NE(ran.text.find(says), std::string::npos) << ran.text;
    EXPECT_FALSE(fs::exists(folder / "run/metrics.jsonl"));
  };
  refused("--niche-image-weights '" + (folder / "none") + "'", "no such file", 2);
  refused("--init '" + trained() + "' --head-hidden 40", "heads.niche.0.weight: expected shape [40, 64], got [32, 64]");
  Named extra = test::read_weights(trained());
  extra["heads.third.0.weight"] = Tensor::zeros({2});
  write(folder / "extra.safetensors", extra);
  refused("--init '" + (folder / "extra.safetensors") + "'", "unexpected heads.third.0.weight [2]");
  Named holes = test::read_weights(trained());
  holes.erase("heads.spot.0.weight");
  write(folder / "holes.safetensors", holes);
  refused("--init '" + (folder / "holes.safetensors") + "'", "missing heads.spot.0.weight [32, 64]", 2);
  write(folder / "empty.safetensors", {});
  refused("--init '" + (folder / "empty.safetensors") + "'", "holds no tensors");
  // gene encoders of other genes
  fs::create_directory(folder / "other");
  fs::copy(trained() + "/model.safetensors", folder / "other");
  auto config = parse_ordered_json(test::read_text(trained() + "/config.json"));
  std::swap(config["gene_names"][3], config["gene_names"][4]);
  std::ofstream(folder / "other/config.json") << config;
  refused("--init '" + (folder / "other") + "'", "trained on other genes (64 of them, from gene 3 on");
}

TEST(StartWeights, PicklesOfPyTorchAreConverted) {
  SPN_FIND_PYTHON(python, "numpy");
  const test::TempFolder folder;
  const std::string script = std::string(SPN_SOURCE_DIR) + "/launch/local/to_safetensors.py";
  if (std::system((python + " -c 'import torch, safetensors' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "PyTorch is not installed (launch/local/install.sh --with-torch): no pickle was converted";
  std::ofstream(folder / "make.py") << R"(
import argparse, sys, torch
sd = {"module.a.weight": torch.arange(6.).reshape(2, 3).t(), "module.b": torch.tensor([1.5], dtype=torch.float16)}
torch.save({k.removeprefix("module."): v for k, v in sd.items()}, sys.argv[1] + "/plain.bin")
torch.save({"model": sd, "epoch": 3, "args": argparse.Namespace(lr=1.0)}, sys.argv[1] + "/checkpoint.pth")
class Evil:
    def __reduce__(self):
        return (print, ("this was run",))
torch.save({"a": Evil()}, sys.argv[1] + "/evil.pt")
)";
  ASSERT_EQ(std::system((python + " '" + (folder / "make.py") + "' '" + folder.path() + "'").c_str()), 0);
  for (const char* name : {"plain.bin", "checkpoint.pth"}) {
    const std::string out = folder / "out.safetensors", log = folder / "log";
    ASSERT_EQ(
        std::system((python + " '" + script + "' '" + (folder / name) + "' '" + out + "' >'" + log + "'").c_str()), 0);
    const ckpt::SafetensorsReader reader(out);
    EXPECT_EQ(reader.tensors().size(), 2U);
    EXPECT_EQ(reader.load("a.weight").to_vector<float>(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
    EXPECT_EQ(reader.info("b").type, "F16");
    EXPECT_EQ(test::read_text(log).find("taken off 2 names") != std::string::npos,
              name == std::string("checkpoint.pth"));
  }
  const std::string log = folder / "log";
  // a PyTorch that cannot tell safe types from others says which one can
  std::ofstream(folder / "old.py") << R"(
import runpy, sys, torch
del torch.serialization.safe_globals
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
)";
  EXPECT_NE(std::system((python + " '" + (folder / "old.py") + "' '" + script + "' '" + (folder / "plain.bin") + "' '" +
                         (folder / "old.safetensors") + "' >'" + log + "' 2>&1")
                            .c_str()),
            0);
  EXPECT_NE(test::read_text(log).find("install 2.5 or newer"), std::string::npos) << test::read_text(log);
  EXPECT_NE(std::system((python + " '" + script + "' '" + (folder / "evil.pt") + "' '" + (folder / "evil.safetensors") +
                         "' >'" + log + "' 2>&1")
                            .c_str()),
            0);
  EXPECT_EQ(test::read_text(log).find("this was run\n"), std::string::npos) << "the pickle was run";
  EXPECT_FALSE(fs::exists(folder / "evil.safetensors"));
}

}  // namespace
}  // namespace spn
