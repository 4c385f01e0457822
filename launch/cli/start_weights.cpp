#include "launch/cli/start_weights.h"

#include <algorithm>
#include <filesystem>

#include "engine/core/log.h"
#include "launch/cli/checkpoint_files.h"
#include "launch/cli/load_model.h"
#include "launch/cli/sources.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// The first place where the lists differ; absent: they are the same.
std::optional<std::size_t> first_difference(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return a == b ? std::nullopt : std::optional(static_cast<std::size_t>(at - a.begin()));
}

// Gene encoders mean nothing for other genes, though their shapes fit.
void require_genes(const models::WeightsLoaded& loaded, const std::vector<std::string>& genes) {
  const bool gene_parts = std::any_of(loaded.names.begin(), loaded.names.end(), [](const std::string& n) {
    return n.starts_with("niche_gene.") || n.starts_with("spot_gene.mlp.");
  });
  const std::string config = (fs::path(loaded.source).parent_path() / "config.json").string();
  if (!gene_parts || !fs::exists(config)) return;
  const auto theirs = trained_on(config).genes;
  if (theirs.empty()) return;
  if (const auto at = first_difference(theirs, genes))
    fail_data(
        "weights",
        "--init {}: its gene encoders were trained on other genes ({} of them, from gene {} on not those of the "
        "packs); prepare the packs with --gene-list of that training run, or leave the gene parts out of the file",
        loaded.source, theirs.size(), *at);
}

}  // namespace

void add_start_options(Options& t, StartWeights& w) {
  t.section("weights to start with (docs/weights.md); a resumed run does not read them again");
  t.add("init", &w.init,
        "safetensors file or folder with our names, whole or parts (a checkpoint, an export, `spotniche import`): what "
        "it holds must fit, parts that it lacks start fresh");
  t.add("niche-image-weights", &w.niche_image, "file or folder with timm's names of a ViT, such as UNI");
  t.add("spot-image-weights", &w.spot_image, "file or folder with torchvision's or timm's names of a ResNet");
}

std::map<std::string, train::EventValue> ReadWeights::event() const {
  std::string notes;
  for (const auto& n : loaded.notes) notes += (notes.empty() ? "" : "; ") + n;
  return {
      {"option", option},          {"source", fs::absolute(loaded.source).lexically_normal().string()},
      {"tensors", loaded.tensors}, {"notes", notes},
      {"checksum", checksum},      {"made_from", text_of(sources_of(fs::path(loaded.source).parent_path().string()))}};
}

std::vector<ReadWeights> read_start_weights(models::StAlign& model, const StartWeights& w,
                                            const std::vector<std::string>& genes) {
  nn::Registry& registry = model.registry();
  std::vector<ReadWeights> read;
  if (!w.init.empty()) {
    read.push_back({"init", models::load_ours(registry, resolve_checkpoint(w.init)), ""});
    require_genes(read.back().loaded, genes);
  }
  if (!w.niche_image.empty())
    read.push_back({"niche-image-weights", models::load_vit(registry, models::vit_size(model.config()), w.niche_image),
                    models::weights_checksum(registry, models::kVitPrefix)});
  if (!w.spot_image.empty())
    read.push_back({"spot-image-weights", models::load_resnet(registry, w.spot_image),
                    models::weights_checksum(registry, models::kResNetPrefix)});
  bool vit_read = false;
  for (const ReadWeights& r : read) {
    log::info("--{}: {} tensors from {}", r.option, r.loaded.tensors, r.loaded.source);
    for (const auto& note : r.loaded.notes) log::info("  {}", note);
    for (const auto& name : r.loaded.names) vit_read = vit_read || name.starts_with(models::kVitPrefix);
  }
  const bool frozen = std::any_of(registry.entries().begin(), registry.entries().end(), [](const auto& e) {
    return e.parameter && e.name.starts_with(models::kVitPrefix) && !e.parameter.requires_grad();
  });
  if (frozen && !vit_read)
    log::warn("the niche image encoder is frozen at random values; give --niche-image-weights (docs/weights.md)");
  return read;
}

}  // namespace spn::cli
