#include "launch/cli/features.h"

#include <nlohmann/json.hpp>

#include "engine/core/log.h"
#include "engine/models/weights.h"

namespace spn::cli {
namespace {

using data::FeatureKind;

bool is_frozen(const models::StAlign& model) {
  for (const auto& e : model.registry().entries())
    if (e.parameter && e.parameter.requires_grad() && e.name.rfind(models::kVitPrefix, 0) == 0) return false;
  return true;
}

// What features of other weights mean, and what to do about it.
[[noreturn]] void refuse_other_weights(const data::PackSet& packs, const data::FeatureInfo& info,
                                       const std::string& own, bool training, bool weights_given) {
  const auto from = info.facts.find("weights");
  std::string advice = "--features never reads the images instead";
  if (training && !weights_given)
    advice =
        "this run's ViT has random weights: give --niche-image-weights or --init with the weights that the "
        "features are of; " +
        advice;
  else
    advice =
        "encode the pack again with the model's weights (spotniche encode --overwrite), or give the model those of "
        "the features; " +
        advice;
  fail_data("features", "the niche features of '{}' are of weights {} ({}), the model's frozen ViT has {}; {}",
            packs.pack(0).path(), info.checksum, from == info.facts.end() ? "unknown" : from->second, own, advice);
}

}  // namespace

std::string vit_config(const models::Config& c) {
  const nlohmann::ordered_json j = {{"niche-image-px", c.niche_image_px}, {"vit-patch", c.vit_patch},
                                    {"vit-width", c.vit_width},           {"vit-depth", c.vit_depth},
                                    {"vit-heads", c.vit_heads},           {"vit-mlp", c.vit_mlp}};
  return j.dump();
}

void add_features_option(Options& options, std::string* mode) {
  options.add("features", mode,
              "niche features from `spotniche encode` in place of niche images: auto where all packs have them, "
              "require, never");
  options.choices("features", {"auto", "require", "never"});
}

void use_spot_features(data::PackSet& packs, const models::Config& config) {
  if (config.spot_gene_encoder != "precomputed") return;
  bool any = false;
  for (std::size_t p = 0; p < packs.packs(); ++p) any = any || packs.pack(p).features(FeatureKind::spot_gene);
  const auto& h = packs.header();
  if (!any && h.spot_genes != h.niche_genes) return;  // an embedding from elsewhere in /spots/spot_gene
  const std::string why = packs.features_missing(FeatureKind::spot_gene);
  if (!why.empty())
    fail_data(
        "features",
        "spot-gene-encoder = precomputed wants an embedding of each spot's genes, but {}; join one with spotniche "
        "encode --encoder spot_gene, or choose --spot-gene-encoder mlp",
        why);
  packs.read_stored({packs.stored().niche_features, true});
  const auto& info = packs.features(FeatureKind::spot_gene);
  const auto source = info.facts.find("source");
  log::info("spot genes: precomputed embeddings of width {} ({})", info.width,
            source == info.facts.end() ? "of unknown source" : source->second);
}

void use_niche_features(data::PackSet& packs, const models::StAlign& model, const std::string& mode, bool training,
                        bool weights_given, bool augmented) {
  if (mode == "never") return;
  const bool require = mode == "require";
  bool any = false;
  for (std::size_t p = 0; p < packs.packs(); ++p) any = any || packs.pack(p).features(FeatureKind::niche_image);
  const auto images = [&](const std::string& why, bool warn) {
    if (require) fail_data("features", "--features require, but {}", why);
    if (warn)
      log::warn("niche features are not read, images are: {}", why);
    else
      log::info("niche features are not read, images are: {}", why);
  };
  if (!any && !require) return;
  if (model.config().niche_adapter) return images("the adapter before the ViT is trained with the model", false);
  const bool frozen = is_frozen(model) && (training || model.config().vit_frozen);
  if (training && !frozen) return images("the ViT is trained; --vit-frozen keeps it", false);
  const std::string why = packs.features_missing(FeatureKind::niche_image);
  if (!why.empty()) return images(why, true);

  const data::FeatureInfo& info = packs.features(FeatureKind::niche_image);
  const std::string own = models::weights_checksum(model.registry(), models::kVitPrefix),
                    config = vit_config(model.config());
  if (info.checksum != own) {
    if (frozen || require) refuse_other_weights(packs, info, own, training, weights_given);
    return images("they are of other weights than the trained ViT's", false);
  }
  const auto made_with = info.facts.find("encoder_config");
  if (made_with == info.facts.end() || made_with->second != config)
    fail_data("features", "the niche features of '{}' are of a ViT {}, the model's is {}; encode the pack again",
              packs.pack(0).path(), made_with == info.facts.end() ? "of unknown size" : made_with->second, config);
  packs.read_stored({true, packs.stored().spot_features});
  log::info("niche images: features of width {} are read in their place (weights {}){}", info.width, own.substr(0, 12),
            augmented ? "; the niche gets no augmentation, the spot image keeps its own" : "");
}

}  // namespace spn::cli
