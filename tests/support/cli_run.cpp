#include "tests/support/cli_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/ckpt/safetensors.h"
#include "engine/core/json.h"

namespace spn::test {

const char* const kSmallModel =
    " --tokens 4 --token-width 16 --joint-width 16 --head-hidden 32 --resnet-width 4 --resnet-depths 1,1 --vit-width 16"
    " --vit-depth 1 --vit-heads 2 --vit-mlp 32 --vit-patch 8 --spot-gene-hidden 32 --niche-gene-hidden 32,16"
    " --niche-gene-blocks 1 --niche-gene-heads 2 --niche-gene-head-width 8 --niche-gene-mlp 32 --niche-gene-proj 16"
    " --fusion-heads 2 --fusion-ffn-hidden 8 ";

MadeData::MadeData() {
  const auto must = [](const Ran& ran) { check(ran.status == 0, "test", "making test data failed:\n{}", ran.text); };
  slides = folder / "slides";
  train_pack = folder / "train.h5";
  held_out_pack = folder / "held-out.h5";
  must(run_binary("synth --slides 3 --spots 48 --genes 120 --technology ST --output '" + slides + "'"));
  const std::string images = " --format stimage-1k4m --spot-image-px 16 --niche-image-px 32 --input '" + slides + "'";
  // names in order; the last is held out
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(slides + "/ST/coord")) {
    const std::string file = entry.path().filename().string();
    names.push_back(file.substr(0, file.find("_coord.csv")));
  }
  std::sort(names.begin(), names.end());
  must(run_binary("prepare" + images + " --gene-count 64 --slides " + names[0] + "," + names[1] + " --output '" +
                  train_pack + "'"));
  must(run_binary("prepare" + images + " --gene-list '" + train_pack + "' --slides " + names[2] + " --output '" +
                  held_out_pack + "'"));
}

const MadeData& made_data() {
  static const MadeData data;
  return data;
}

std::string copy_pack(const TempFolder& folder, const std::string& name) {
  std::filesystem::copy_file(made_data().train_pack, folder / name);
  return folder / name;
}

std::string encode_args(const std::string& pack, const std::string& more) {
  return "encode --pack '" + pack + "' --weights random" + more;
}

void expect(const Ran& ran, int status, const std::vector<std::string>& words) {
  EXPECT_EQ(ran.status, status) << ran.text;
  for (const auto& w : words) EXPECT_NE(ran.text.find(w), std::string::npos) << "no '" << w << "' in\n" << ran.text;
}

std::vector<MetricsLine> read_metrics(const std::string& run_dir) {
  std::ifstream in(run_dir + "/metrics.jsonl");
  std::vector<MetricsLine> lines;
  for (std::string text; std::getline(in, text);) {
    MetricsLine line;
    const auto json = parse_json(text);
    for (const auto& [key, value] : json.items()) line[key] = value.is_null() ? std::nan("") : value.get<double>();
    lines.push_back(line);
  }
  return lines;
}

std::map<std::string, Tensor> read_weights(const std::string& checkpoint) {
  const ckpt::SafetensorsReader reader(checkpoint + "/model.safetensors");
  std::map<std::string, Tensor> out;
  for (const auto& [name, info] : reader.tensors()) out.emplace(name, reader.load(name));
  return out;
}

std::string checkpoint(const std::string& run_dir, int step) {
  return fmt::format("{}/checkpoints/step-{:08}", run_dir, step);
}

double relative_distance(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  check(a.size() == b.size(), "test", "expected {} tensors, got {}", b.size(), a.size());
  double difference = 0, size = 0;
  for (const auto& [name, t] : b) {
    const auto x = a.at(name).to_vector<double>(), y = t.to_vector<double>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      difference += (x[i] - y[i]) * (x[i] - y[i]);
      size += y[i] * y[i];
    }
  }
  return std::sqrt(difference / size);
}

std::string on_ranks(int ranks) {
  return ranks == 1 ? "" : "mpirun --oversubscribe --bind-to none -np " + std::to_string(ranks) + " ";
}

}  // namespace spn::test
