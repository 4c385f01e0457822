// spotniche inspect: what it prints and its exit status for each kind of file, whole and damaged.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "data/h5/h5.h"
#include "data/write_h5ad/write_h5ad.h"
#include "engine/ckpt/safetensors.h"
#include "engine/core/check.h"
#include "engine/core/json.h"
#include "tests/support/made_pack.h"
#include "tests/support/made_snapshot.h"
#include "tests/support/paths.h"
#include "tests/support/run_binary.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn {
namespace {

void expect_says(const test::Ran& ran, int status, const std::vector<std::string>& words) {
  EXPECT_EQ(ran.status, status) << ran.text;
  for (const auto& w : words) EXPECT_NE(ran.text.find(w), std::string::npos) << "no '" << w << "' in\n" << ran.text;
}

test::MadePack plan() {
  auto p = test::plan_pack({6, 7});
  p.header.normalisation = "none";
  return p;
}

data::H5ad made_h5ad() {
  data::H5ad c;
  c.obs_names = {"s_1", "s_2", "s_3"};
  c.categorical["slide"] = {"s", "s", "s"};
  data::H5adMatrix m;
  m.columns = 2;
  m.f32 = {1, 0, 0, 1, 1, 0};
  c.obsm["X_spotniche"] = m;
  c.uns["spotniche"]["version"] = "0.1.0";
  return c;
}

TEST(Inspect, AgainstAnother) {
  test::TempFolder folder;
  const std::string a = folder / "a.h5ad", b = folder / "b.h5ad";
  const auto against = [&](const std::string& other) {
    return test::run_binary("inspect '" + a + "' --against '" + other + "'");
  };
  data::H5ad made = made_h5ad();
  data::write_h5ad(a, made);
  expect_says(against(a), exit_ok, {"obsm['X_spotniche']", "largest difference 0\n"});
  made.obsm["X_spotniche"].f32[3] += 0.25F;
  data::write_h5ad(b, made);
  expect_says(against(b), exit_ok, {"largest difference 0.25 at row 1"});
  made.obsm["X_spotniche"].f32[4] = std::nanf("");
  data::write_h5ad(b, made);
  expect_says(against(b), exit_ok, {"largest difference nan at row 2"});
  made = made_h5ad();
  made.obsm["X_more"] = made.obsm["X_spotniche"];
  data::write_h5ad(b, made);
  expect_says(against(b), exit_data, {"DIFFERENT", "a.h5ad has no obsm['X_more']"});
  made = made_h5ad();
  made.obs_names[2] = "s_9";
  data::write_h5ad(b, made);
  expect_says(against(b), exit_data, {"DIFFERENT", "holds other spots"});
  expect_says(against(folder / "none.h5ad"), exit_data, {"none.h5ad"});
}

TEST(Inspect, Pack) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  expect_says(test::run_binary("inspect '" + (folder / "a.h5") + "'"), exit_ok,
              {"a pack, format 1", "13 in 2 slides", "5 x 5 px", "7 x 7 px", "11 (9 a spot vector)", "slide_1é",
               "a row       302 B"});
  expect_says(test::run_binary("inspect --verify '" + (folder / "a.h5") + "'"), exit_ok, {"verified    whole"});
  data::h5::File file = data::h5::File::open_to_write(folder / "a.h5");
  const std::vector<float> genes(11, std::nanf(""));
  file.write_rows("/spots/niche_gene", data::h5::Type::f32, genes.data(), 4, 1);
  file.close();
  expect_says(test::run_binary("inspect '" + (folder / "a.h5") + "' --verify"), exit_data,
              {"NOT WHOLE", "niche_gene not finite", "row 4"});
  std::filesystem::resize_file(folder / "a.h5", std::filesystem::file_size(folder / "a.h5") - 100);
  expect_says(test::run_binary("inspect '" + (folder / "a.h5") + "'"), exit_data, {"truncated"});
}

TEST(Inspect, H5ad) {
  test::TempFolder folder;
  data::write_h5ad(folder / "a.h5ad", made_h5ad());
  expect_says(test::run_binary("inspect --verify '" + (folder / "a.h5ad") + "'"), exit_ok,
              {"an .h5ad of embeddings", "3, first 's_1'", "obsm/X_spotniche", "float32 [3, 2]", "obs/slide",
               "categorical", "whole"});
  auto broken = made_h5ad();
  broken.obsm["X_spotniche"].f32[4] = std::nanf("");
  data::write_h5ad(folder / "b.h5ad", broken);
  expect_says(test::run_binary("inspect --verify '" + (folder / "b.h5ad") + "'"), exit_data,
              {"X_spotniche", "not finite", "row 2"});
}

TEST(Inspect, Safetensors) {
  test::TempFolder folder;
  Tensor t = Tensor::zeros({2, 3});
  const ckpt::NamedTensor one{"layer.weight", t};
  ckpt::write_safetensors(folder / "a.safetensors", {&one, 1}, {{"made_by", "a test"}});
  expect_says(test::run_binary("inspect --verify '" + (folder / "a.safetensors") + "'"), exit_ok,
              {"1 tensors, 6 values", "F32", "[2, 3]", "layer.weight", "made_by = a test", "whole"});
  t.view().ptr<float>()[5] = INFINITY;
  ckpt::write_safetensors(folder / "b.safetensors", {&one, 1});
  expect_says(test::run_binary("inspect --verify '" + (folder / "b.safetensors") + "'"), exit_data,
              {"layer.weight", "1 values"});
  std::filesystem::resize_file(folder / "a.safetensors", std::filesystem::file_size(folder / "a.safetensors") - 4);
  expect_says(test::run_binary("inspect '" + (folder / "a.safetensors") + "'"), exit_data, {"a.safetensors"});
}

TEST(Inspect, CheckpointAndRun) {
  test::TempFolder folder;
  const std::string run = folder / "run";
  std::filesystem::create_directories(run + "/checkpoints");
  std::ofstream(run + "/config.cfg") << "steps = 40\n";
  std::ofstream(run + "/metrics.jsonl") << R"({"step": 1, "loss": 4.5})"
                                           "\n"
                                           R"({"step": 2, "loss": 4.25})"
                                           "\n";
  std::ofstream(run + "/events.jsonl") << R"({"event": "start"})"
                                          "\n";
  const std::string first = ckpt::save(test::world(), run, test::made_snapshot(20), 0);
  const std::string second = ckpt::save(test::world(), run, test::made_snapshot(40), 0);
  expect_says(
      test::run_binary("inspect --verify '" + second + "'"), exit_ok,
      {"a checkpoint", "step               40", "model.safetensors", "2 tensors, 303 values", "verified    whole"});
  expect_says(test::run_binary("inspect --verify '" + run + "'"), exit_ok,
              {"a run directory", "2 lines", "last loss     4.25", "2, newest whole one", "step-00000040",
               "verified    whole"});
  test::flip_bit(first + "/model.safetensors", 400);
  expect_says(test::run_binary("inspect --verify '" + first + "'"), exit_data, {"NOT WHOLE", "model.safetensors"});
  std::ofstream(run + "/metrics.jsonl", std::ios::app) << "{\"step\": 3, \"lo";
  std::filesystem::remove(run + "/config.cfg");
  expect_says(test::run_binary("inspect --verify '" + run + "'"), exit_data,
              {"step-00000020", "1 lines that are no JSON", "expected config.cfg"});
}

TEST(Inspect, SeveralFilesAndOneIsBad) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  std::ofstream(folder / "notes.txt") << "nothing of ours, and longer than eight bytes";
  const std::string files = "'" + (folder / "none.h5") + "' '" + (folder / "notes.txt") + "' '" + folder.path() +
                            "' '" + (folder / "a.h5") + "'";
  expect_says(test::run_binary("inspect " + files), exit_data,
              {"no such file", "got something else", "folder without state.json", "13 in 2 slides"});
}

TEST(Inspect, Model) {
  const std::string tiny = std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg";
  expect_says(test::run_binary("inspect --model '" + tiny + "' --batch 4 --ranks 2"), 0,
              {"4,062,720", "niche_image", "366,480", "4 pairs on a rank, one of 2 ranks", "optimiser (AdamW)"});
  const auto ran = test::run_binary("inspect --model '" + tiny + "' --batch 4 --json");
  ASSERT_EQ(ran.status, 0) << ran.text;
  const auto j = parse_json(ran.text.substr(ran.text.find('{')));
  EXPECT_EQ(j["total"]["parameters"], 4062720);
  EXPECT_NEAR(j["peak_bytes"].get<double>() / j["floor_bytes"].get<double>(), 1, 0.1);
  expect_says(test::run_binary("inspect --model '" + tiny + "' --ranks 0"), 2, {"--ranks", "at least 1"});
  expect_says(test::run_binary("inspect --model nowhere.cfg"), 2, {"nowhere.cfg"});
}

TEST(Inspect, Usage) {
  expect_says(test::run_binary("inspect"), exit_usage, {"give at least one FILE"});
  expect_says(test::run_binary("inspect --verfy x.h5"), exit_usage, {"did you mean --verify"});
  expect_says(test::run_binary("inspect --help"), exit_ok, {"--verify"});
}

}  // namespace
}  // namespace spn
