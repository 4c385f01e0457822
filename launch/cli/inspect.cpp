// inspect: any file of ours -> what is in it, and with --verify whether it is whole. Rank 0 alone works.
#include "launch/cli/inspect.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "data/h5/h5.h"
#include "data/pack/commit.h"
#include "engine/core/check.h"
#include "engine/core/log.h"
#include "launch/cli/command.h"
#include "launch/cli/options.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKnown =
    "a pack, an .h5ad, a .safetensors file, a checkpoint folder, a folder of import or "
    "export, a run directory, a folder of evaluate, or a text file in one of these";

// Text files are told with the folder that they belong to.
bool is_part_of_a_folder(const fs::path& path) {
  for (const char* name : {"config.cfg", "metrics.jsonl", "events.jsonl", "genes.txt", "state.json", "config.json",
                           "metrics.json", "latest"})
    if (path.filename() == name) return true;
  return false;
}

Faults inspect_one(const std::string& path, bool verify, std::ostream& out) {
  if (!fs::exists(path)) fail_data("inspect", "expected {} at '{}', got no such file", kKnown, path);
  if (fs::is_directory(path)) {
    if (fs::exists(fs::path(path) / "state.json")) return inspect_checkpoint(path, verify, out);
    if (fs::exists(fs::path(path) / "checkpoints") || fs::exists(fs::path(path) / "metrics.jsonl"))
      return inspect_run(path, verify, out);
    if (fs::exists(fs::path(path) / "config.json")) return inspect_folder(path, verify, out);
    if (fs::exists(fs::path(path) / "metrics.json")) return inspect_evaluation(path, out);
    fail_data("inspect", "expected {}, got a folder without state.json or checkpoints: '{}'", kKnown, path);
  }
  if (is_part_of_a_folder(path)) {
    const fs::path folder = fs::absolute(path).parent_path();
    return inspect_one((folder.filename() == "checkpoints" ? folder.parent_path() : folder).string(), verify, out);
  }
  char head[9] = "";
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  if (std::memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0) {
    data::finish_commit(path);
    // the format is asked before the content, so that a damaged pack is told as one
    const data::h5::File file = data::h5::File::open(path);
    if (file.has_attribute("/", "format")) return inspect_pack(path, verify, out);
    if (file.has("/obs") && file.has("/var")) return inspect_h5ad(path, verify, out);
    fail_data("inspect", "expected {}, got another HDF5 file: '{}'", kKnown, path);
  }
  if (head[8] == '{' || fs::path(path).extension() == ".safetensors") return inspect_safetensors(path, verify, out);
  fail_data("inspect", "expected {}, got something else: '{}'", kKnown, path);
}

// Files stand alone on the command line; the option table knows only keys.
std::vector<std::string> take_files(const std::vector<std::string>& args, std::vector<std::string>& files) {
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const bool value_of_key =
        i > 0 && (args[i - 1] == "--config" || args[i - 1] == "--model" || args[i - 1] == "--batch" ||
                  args[i - 1] == "--precision" || args[i - 1] == "--ranks" || args[i - 1] == "--against");
    if (!args[i].empty() && args[i][0] != '-' && !value_of_key)
      files.push_back(args[i]);
    else
      rest.push_back(args[i]);
  }
  return rest;
}

}  // namespace

int run_inspect(dist::Comm& world, const std::vector<std::string>& args) {
  std::vector<std::string> files;
  bool verify = false;
  const auto keys = take_files(args, files);
  Options options("inspect", std::string("FILE...: what is in files of ours. FILE is ") + kKnown + ".");
  std::string model;
  bool json = false;
  train::CostOptions cost;
  options.add("model", &model,
              "a model instead: a .cfg of configs/model, a checkpoint folder or its config.json. Prints its parts, "
              "FLOPs a pair and the memory of a step");
  options.add("batch", &cost.batch, "with --model: pairs of one rank");
  options.add("activation-checkpointing", &cost.activation_checkpointing, "with --model: as of pretrain");
  options.add("ranks", &cost.ranks, "with --model: as one of so many ranks (gradient buckets)");
  options.add("ema", &cost.ema, "with --model: with averaged weights, as pretrain --ema-decay");
  options.add("features", &cost.features, "with --model: cached features instead of the frozen encoder's niche images");
  std::string precision = "fp32";
  options.add("precision", &precision, "with --model: of activations");
  options.choices("precision", {"fp32", "bf16"});
  options.add("json", &json, "with --model: one JSON object");
  std::string against;
  options.add(
      "against", &against,
      "another .h5ad: prints how far its embeddings are from FILE's; exit status 3 when they are not of the same "
      "spots");
  options.add("verify", &verify, "read everything and check it; exit status 3 when something is not whole");
  if (!options.parse(keys, std::cout)) return exit_ok;
  if (!model.empty()) {
    cost.compute = precision == "bf16" ? DType::bf16 : DType::f32;
    if (cost.ranks < 1) fail_usage("inspect", "--ranks: expected at least 1, got {}", cost.ranks);
    if (cost.batch < 2) fail_usage("inspect", "--batch: expected at least 2, got {}", cost.batch);
    if (world.rank() == 0) inspect_model(model, cost, json, std::cout);
    if (files.empty()) return exit_ok;
  }
  if (files.empty()) fail_usage("inspect", "give at least one FILE: {}", kKnown);

  std::int32_t status = exit_ok;
  if (world.rank() == 0)
    for (const std::string& file : files) try {
        const Faults faults = inspect_one(file, verify, std::cout);
        for (const std::string& f : faults) std::cout << "  NOT WHOLE   " << f << "\n";
        if (!against.empty()) {
          const Faults differ = compare_h5ad(file, against, std::cout);
          for (const std::string& f : differ) std::cout << "  DIFFERENT   " << f << "\n";
          if (!differ.empty()) status = exit_data;
        }
        if (verify && faults.empty()) std::cout << "  verified    whole\n";
        if (!faults.empty()) status = exit_data;
        std::cout << std::flush;
      } catch (const Error& e) {
        // the other files are still worth a look
        if (e.kind() != ErrorKind::data) throw;
        log::error("{}", e.what());
        status = exit_data;
      }
  world.broadcast(host_view(&status, {1}), 0);
  return status;
}

}  // namespace spn::cli
