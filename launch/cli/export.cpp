// export: a checkpoint -> a Hugging Face style folder with a card, in our names, timm's or torchvision's.
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "engine/ckpt/checkpoint.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "launch/cli/checkpoint_files.h"
#include "launch/cli/command.h"
#include "launch/cli/load_model.h"
#include "launch/cli/model_card.h"
#include "launch/cli/model_folder.h"
#include "launch/cli/options.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  std::string checkpoint, output, part = "model", names;
  std::vector<std::string> leave_out;
  bool ema = false;
};

// The folder with config.json and whole weights: a checkpoint, or what import wrote.
std::string find_folder(const std::string& given) {
  const std::string folder = resolve_checkpoint(given);
  if (!fs::exists(fs::path(folder) / "config.json"))
    fail_data("export",
              "{}: expected config.json and model.safetensors; give a checkpoint, a run directory or a folder "
              "of `spotniche import`",
              folder);
  if (fs::exists(fs::path(folder) / "state.json"))
    if (const auto problems = ckpt::verify(folder); !problems.empty())
      fail_data("export", "{} is not whole: {}", folder, problems[0]);
  return folder;
}

void require_whole(const PartOfModel& read, Part part) {
  std::string missing;
  int count = 0;
  const auto& have = read.loaded.names;
  for (const auto& e : read.registry().entries()) {
    const bool optional = part == Part::spot_image &&
                          (e.name.find(".fc.") != std::string::npos || e.name.ends_with("num_batches_tracked"));
    if (optional || std::find(have.begin(), have.end(), e.name) != have.end()) continue;
    if (++count <= 20) missing += "\n  " + e.name;
  }
  if (count > 0)
    fail_data("export", "{} lacks {} tensors of the model; --part exports an encoder alone:{}", read.loaded.source,
              count, missing);
}

// A ViT without layer scale was given factors of 1 when it was read; timm has no such tensors there.
bool drop_unit_layer_scale(std::vector<ckpt::NamedTensor>& tensors) {
  const auto is_gamma = [](const ckpt::NamedTensor& t) { return t.name.ends_with("gamma"); };
  const bool all_one = std::all_of(tensors.begin(), tensors.end(), [&](const auto& t) {
    const auto v = is_gamma(t) ? t.tensor.template to_vector<float>() : std::vector<float>();
    return std::all_of(v.begin(), v.end(), [](float x) { return x == 1; });
  });
  if (!all_one) return false;
  return std::erase_if(tensors, is_gamma) > 0;
}

// Sizes of an encoder under another library's names.
std::string encoder_config(Part part, const models::Config& c, bool layer_scale, bool has_fc) {
  nlohmann::ordered_json j;
  if (part == Part::niche_image) {
    const models::VitSize z = models::vit_size(c);
    j = {{"model_type", "vit"},  {"img_size", z.px},           {"patch_size", z.patch},
         {"embed_dim", z.width}, {"depth", z.depth},           {"num_heads", z.heads},
         {"mlp_dim", z.mlp},     {"layer_scale", layer_scale}, {"num_classes", 0}};
  } else {
    j = {{"model_type", "resnet"},
         {"layers", c.depths()},
         {"width", c.resnet_width},
         {"stem", c.resnet_stem},
         {"num_classes", has_fc ? c.token_width : 0}};
  }
  j["mean"] = {0.485, 0.456, 0.406};
  j["std"] = {0.229, 0.224, 0.225};
  return json_text(j);
}

void export_model(const ExportOptions& o, Part part, const std::string& names) {
  require_replaceable("export", o.output);
  const std::string folder = find_folder(o.checkpoint), config_path = folder + "/config.json";
  const std::string config_json = files::read_text(config_path);
  CardFacts facts;
  facts.config = models::from_json(config_json, config_path);
  const PartOfModel read = read_part(part, facts.config, folder);
  require_whole(read, part);
  const std::string prefix = prefix_of(part);
  if (o.ema) facts.ema = use_averages(read.registry(), folder, prefix) > 0;
  if (o.ema && !facts.ema)
    log::warn("--ema: {} was frozen in that run, so it has no averages; its weights are those of the model", o.part);
  auto tensors = tensors_of(read, names == "spotniche" ? "" : prefix);
  for (const std::string& pattern : o.leave_out)
    if (std::erase_if(tensors, [&](const auto& t) { return fnmatch(pattern.c_str(), t.name.c_str(), 0) == 0; }) == 0)
      fail_usage("export", "--leave-out '{}' matches no tensor", pattern);
  if (part == Part::niche_image && names == "timm") facts.layer_scale = !drop_unit_layer_scale(tensors);
  const bool has_fc = std::any_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.name == "fc.weight"; });

  facts.title = fs::path(o.output).lexically_normal().filename().string();
  if (facts.title.empty()) facts.title = "ST-Align";
  facts.part = o.part;
  facts.names = names;
  facts.version = version();
  facts.tensors = static_cast<std::int64_t>(tensors.size());
  for (const auto& t : tensors) facts.parameters += t.tensor.numel();
  if (part != Part::model) facts.checksum = models::weights_checksum(read.registry(), prefix);
  facts.left_out = o.leave_out;
  try {
    gather_run(folder, facts);
  } catch (const nlohmann::json::exception& e) {
    fail_data("export", "{}: state.json, config.json or the run's .jsonl files are not as spotniche writes them: {}",
              folder, e.what());
  }
  nlohmann::json about = {
      {"made_by", "export"}, {"spotniche_version", version()},         {"part", o.part},
      {"names", names},      {"weights", facts.ema ? "ema" : "model"}, {"sources", nlohmann::json::array()}};
  for (const Source& s : facts.sources)
    about["sources"].push_back(
        {{"option", s.option}, {"source", s.file}, {"checksum", s.checksum}, {"made_from", s.made_from}});
  if (!o.leave_out.empty()) about["left_out"] = o.leave_out;
  if (!facts.checksum.empty()) about["checksum"] = facts.checksum;
  write_model_folder(o.output, tensors,
                     names == "spotniche" ? config_json : encoder_config(part, facts.config, facts.layer_scale, has_fc),
                     about, model_card(facts));
  for (const Source& source : facts.sources)
    log::warn(
        "made from {}: its licence decides whether this folder may be passed on (README.md; --leave-out PATTERN "
        "leaves tensors out)",
        text_of({source}));
  log::info("wrote {}: {} tensors of {}, with config.json and README.md", o.output, tensors.size(), read.loaded.source);
}

}  // namespace

int run_export(dist::Comm& world, const std::vector<std::string>& args) {
  ExportOptions o;
  Options options("export",
                  "Writes a checkpoint as a Hugging Face style folder: model.safetensors, config.json, README.md.");
  options.add("checkpoint", &o.checkpoint, "a checkpoint, a run directory (its newest one), or a folder of `import`");
  options.add("output", &o.output, "the folder to write");
  options.add("part", &o.part, "the whole model, or one image encoder");
  options.choices("part", {"model", "niche_image", "spot_image"});
  options.add("names", &o.names,
              "whose names; by default ours for the model, timm's for niche_image, torchvision's for spot_image");
  options.choices("names", {"spotniche", "timm", "torchvision"});
  options.add("leave-out", &o.leave_out,
              "patterns of tensors that stay behind, such as 'niche_image.backbone.*' when they may not be passed on");
  options.add("ema", &o.ema, "the averaged weights of a run with --ema-decay");
  options.require("checkpoint");
  options.require("output");
  if (!options.parse(args, std::cout)) return exit_ok;
  const Part part = parse_part(o.part);
  const std::string names = settle_names("export", part, o.names);
  dist::together(world, "export", [&] {
    if (world.rank() == 0) export_model(o, part, names);
  });
  return exit_ok;
}

}  // namespace spn::cli
