#include "launch/cli/load_model.h"

#include <filesystem>

#include "engine/ckpt/checkpoint.h"
#include "engine/ckpt/safetensors.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/sha256.h"
#include "launch/cli/checkpoint_files.h"

namespace spn::cli {

namespace fs = std::filesystem;

std::string checkpoint_config(const models::Config& config, const TrainedOn& packs) {
  auto json = parse_ordered_json(models::to_json(config));
  json["gene_names"] = packs.genes;
  if (!packs.spot_gene_key.empty()) json["spot_gene_key"] = packs.spot_gene_key;
  if (packs.spot_window_um > 0) json["spot_window_um"] = packs.spot_window_um;
  return json_text(json, 2) + "\n";
}

TrainedOn trained_on(const std::string& config_path) {
  TrainedOn t;
  try {
    const auto json = parse_json(files::read_text(config_path));
    if (const auto it = json.find("gene_names"); it != json.end() && it->is_array())
      for (const auto& g : *it) t.genes.push_back(g.get<std::string>());
    if (const auto it = json.find("spot_gene_key"); it != json.end() && it->is_string())
      t.spot_gene_key = it->get<std::string>();
    if (const auto it = json.find("spot_window_um"); it != json.end() && it->is_number())
      t.spot_window_um = it->get<double>();
  } catch (const nlohmann::json::exception& e) {
    fail_data("model", "{}: expected JSON with a list gene_names, got {}", config_path, e.what());
  }
  return t;
}

LoadedModel load_model(const std::string& folder, bool ema, Device device) {
  LoadedModel loaded;
  loaded.folder = resolve_checkpoint(folder);
  const std::string config_path = (fs::path(loaded.folder) / "config.json").string();
  const std::string weights_path = (fs::path(loaded.folder) / "model.safetensors").string();
  if (!fs::exists(config_path) || !fs::exists(weights_path))
    fail_data("checkpoint", "{}: expected config.json and model.safetensors; give a folder below RUN_DIR/checkpoints",
              loaded.folder);
  const std::string text = files::read_text(config_path);
  const models::Config config = models::from_json(text, config_path);
  loaded.trained_on = trained_on(config_path);
  loaded.model = std::make_unique<models::StAlign>(config, std::nullopt, device);
  const ckpt::SafetensorsReader reader(weights_path);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : reader.tensors()) tensors.emplace(name, reader.load(name));
  loaded.model->registry().load(tensors, weights_path);
  if (ema) (void)use_averages(loaded.model->registry(), loaded.folder);
  loaded.checksum = sha256_file(ema ? averages_path(loaded.folder) : weights_path);
  const std::string state_path = (fs::path(loaded.folder) / "state.json").string();
  if (fs::exists(state_path)) {
    const auto state = try_json(files::read_text(state_path));
    if (const auto it = state.find("seed"); it != state.end() && it->is_number_unsigned())
      loaded.seed = it->get<std::uint64_t>();
  }
  return loaded;
}

void require_fits(const models::Config& c, const std::vector<std::string>& genes, const data::PackSet& packs,
                  const std::string& source) {
  const auto& h = packs.header();
  const std::string pack = packs.pack(0).path();
  const auto require = [&](const char* what, std::int64_t want, std::int64_t got, const char* option) {
    if (want != got)
      fail_data("pack", "{}: {} is {} in the model ({}) but {} in the pack; prepare it with {} {}", pack, what, want,
                source, got, option, want);
  };
  require("the spot image's side", c.spot_image_px, h.spot_px, "--spot-image-px");
  require("the niche image's side", c.niche_image_px, h.niche_px, "--niche-image-px");
  require("the number of niche genes", c.genes, h.niche_genes, "--gene-count");
  if (c.spot_gene_encoder == "mlp")
    require("the width of the spot gene vector", c.spot_gene_width, packs.spot_width(), "--gene-count");
  else if (c.spot_gene_width != packs.spot_width())
    fail_data("pack",
              "{}: the spot embeddings have width {} but the model ({}) wants {}; join others with spotniche "
              "encode --encoder spot_gene",
              pack, packs.spot_width(), source, c.spot_gene_width);
  if (genes.empty()) return;
  const auto& have = packs.genes();
  for (std::size_t g = 0; g < genes.size(); ++g)
    if (have[g] != genes[g])
      fail_data("pack",
                "{}: gene {} is {} but the model ({}) was trained with {} there; prepare the pack with --gene-list "
                "RUN_DIR/genes.txt of that training run",
                pack, g, have[g], source, genes[g]);
}

}  // namespace spn::cli
