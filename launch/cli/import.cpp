// import: weights in timm's, torchvision's or our names -> a folder in our names that pretrain --init reads.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "engine/ckpt/safetensors_set.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "launch/cli/command.h"
#include "launch/cli/load_model.h"
#include "launch/cli/model_folder.h"
#include "launch/cli/model_options.h"
#include "launch/cli/sources.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string weights, part, names, output;
  models::Config model;
};

// What is known of the packs travels with the encoders that were trained on them.
std::string config_beside(const models::WeightsLoaded& loaded, const models::Config& config) {
  const std::string theirs = (fs::path(loaded.source).parent_path() / "config.json").string();
  return checkpoint_config(config, fs::exists(theirs) ? trained_on(theirs) : TrainedOn{});
}

// Loads take either kind of names; here the user said which.
void require_names(const std::string& weights, const std::string& prefix, const std::string& names) {
  const ckpt::SafetensorsSet set(weights);
  const bool ours = std::any_of(set.tensors().begin(), set.tensors().end(),
                                [&](const auto& t) { return t.first.starts_with(prefix); });
  if (ours != (names == "spotniche"))
    fail_data("import", "{}: its names are {}those of spotniche ({}…); give --names {}", set.path(), ours ? "" : "not ",
              prefix, ours ? "spotniche" : "timm or torchvision");
}

void import_weights(const ImportOptions& o, Part part, const std::string& names) {
  require_replaceable("import", o.output);
  const std::string prefix = prefix_of(part);
  if (part != Part::model) require_names(o.weights, prefix, names);
  const PartOfModel read = read_part(part, o.model, o.weights);
  for (const auto& note : read.loaded.notes) log::info("{}", note);
  const auto tensors = tensors_of(read, "");
  const fs::path source = fs::absolute(read.loaded.source);
  nlohmann::json about = {{"made_by", "import"},
                          {"spotniche_version", version()},
                          {"part", o.part},
                          {"source", short_path(source.string())},
                          {"source_names", names}};
  if (const auto made_from = sources_of(source.parent_path().string()); !made_from.empty())
    about["made_from"] = text_of(made_from);
  if (!prefix.empty()) about["checksum"] = models::weights_checksum(read.registry(), prefix);
  write_model_folder(o.output, tensors,
                     part == Part::model ? config_beside(read.loaded, o.model) : checkpoint_config(o.model, {}), about,
                     "");
  log::info("wrote {}: {} tensors of {}; use it with spotniche pretrain --init {}", o.output, tensors.size(),
            read.loaded.source, o.output);
}

}  // namespace

int run_import(dist::Comm& world, const std::vector<std::string>& args) {
  ImportOptions o;
  Options options("import", "Turns weights in other people's names into a folder in ours, for `pretrain --init`.");
  options.add("weights", &o.weights, "safetensors file, or a folder with model.safetensors or its shards");
  options.add("part", &o.part, "which part of the model they are");
  options.choices("part", {"niche_image", "spot_image", "model"});
  options.add("names", &o.names, "whose names; by default timm's for niche_image, torchvision's for spot_image");
  options.choices("names", {"timm", "torchvision", "spotniche"});
  options.add("output", &o.output, "the folder to write: model.safetensors, config.json");
  add_model_options(options, o.model);
  for (const char* name : {"weights", "part", "output"}) options.require(name);
  if (!options.parse(args, std::cout)) return exit_ok;
  o.model.validate();
  const Part part = parse_part(o.part);
  const std::string names = settle_names("import", part, o.names);
  dist::together(world, "import", [&] {
    if (world.rank() == 0) import_weights(o, part, names);
  });
  return exit_ok;
}

}  // namespace spn::cli
