#include "launch/cli/features.h"

#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "engine/models/weights.h"

namespace spn::cli {
namespace {

using data::FeatureKind;

bool is_frozen(const models::StAlign& model) {
  for (const auto& e : model.registry().entries())
    if (e.parameter && e.parameter.requires_grad() && e.name.rfind(models::kVitPrefix, 0) == 0) return false;
  return true;
}

std::string fact(const data::FeatureInfo& info, const char* name) {
  const auto found = info.facts.find(name);
  return found == info.facts.end() ? "unknown" : found->second;
}

// What features of other weights mean, and what to do about it.
[[noreturn]] void refuse_other_weights(const data::PackSet& packs, const data::FeatureInfo& info,
                                       const std::string& own, const NicheFeatures& use) {
  const char* advice =
      use.training && !use.weights_given
          ? "this run's ViT has random weights: give --niche-image-weights or --init with the weights that the "
            "features "
            "are of"
          : "encode the pack again with the model's weights (spotniche encode --overwrite), or give the model those of "
            "the features";
  fail_data(
      "features",
      "the niche features of '{}' are of weights {} ({}), the model's frozen ViT has {}; {}; --features never reads "
      "the images instead",
      packs.pack(0).path(), info.checksum, fact(info, "weights"), own, advice);
}

}  // namespace

std::string vit_config(const models::Config& c) {
  const nlohmann::ordered_json j = {{"niche-image-px", c.niche_image_px}, {"vit-patch", c.vit_patch},
                                    {"vit-width", c.vit_width},           {"vit-depth", c.vit_depth},
                                    {"vit-heads", c.vit_heads},           {"vit-mlp", c.vit_mlp}};
  return json_text(j);
}

void add_features_option(Options& options, std::string* mode) {
  options.add("features", mode,
              "niche features from `spotniche encode` in place of niche images: auto where all packs have them, "
              "require, never");
  options.choices("features", {"auto", "require", "never"});
}

void use_spot_features(data::PackSet& packs, const models::Config& config, const std::string& trained_key) {
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
  if (const std::string key = spot_gene_key(packs); !key.empty() && !trained_key.empty() && key != trained_key)
    fail_data("features",
              "the spot embeddings of the packs are {}, the model was trained on {}; join those with spotniche encode "
              "--encoder spot_gene --key {} --overwrite",
              key, trained_key, trained_key);
  const auto& info = packs.features(FeatureKind::spot_gene);
  log::info("spot genes: precomputed embeddings of width {} ({})", info.width, fact(info, "source"));
}

std::string spot_gene_key(const data::PackSet& packs) {
  if (!packs.stored().spot_features) return "";
  for (std::size_t p = 0; p < packs.packs(); ++p) {
    const auto& facts = packs.pack(p).features(FeatureKind::spot_gene)->facts;
    if (const auto key = facts.find("key"); key != facts.end()) return key->second;
  }
  return "";
}

std::map<std::string, std::string> input_facts(const data::PackSet& packs) {
  std::map<std::string, std::string> facts = {{"niche_input", "images"}};
  if (packs.stored().niche_features) {
    const auto& info = packs.features(FeatureKind::niche_image);
    facts = {{"niche_input", "features"},
             {"niche_features_checksum", info.checksum},
             {"niche_features_precision", fact(info, "precision")},
             {"niche_features_type", info.type == data::GeneType::f16 ? "float16" : "float32"}};
  }
  if (const std::string key = spot_gene_key(packs); !key.empty()) facts["spot_gene_key"] = key;
  return facts;
}

void require_same_inputs(const std::string& checkpoint, const std::map<std::string, std::string>& then,
                         const std::map<std::string, std::string>& now) {
  const auto before = then.find("niche_input");
  if (before == then.end()) return;
  const bool was_images = before->second == "images";
  if (before->second != now.at("niche_input"))
    fail_usage("resume",
               "{} was trained on niche {}, now {} would be read; --features {} goes on as before, another --output or "
               "--resume never starts a run of its own",
               checkpoint, before->second,
               was_images ? "the packs' cached features (without niche augmentation)" : "images",
               was_images ? "never" : "require");
  for (const auto& [name, value] : then)
    if (const auto found = now.find(name); name.starts_with("niche_features_") && found != now.end())
      if (found->second != value)
        fail_usage("resume",
                   "{} was trained on features with {} {}, the packs' have {}; encode them as before to go on with "
                   "--features require",
                   checkpoint, name, value, found->second);
}

namespace {

// A cache that is half done is no reason to train on something else without a word that stops.
void refuse_incomplete(const data::PackSet& packs) {
  for (std::size_t p = 0; p < packs.packs(); ++p)
    if (const auto& info = packs.pack(p).features(FeatureKind::niche_image); info && !info->complete())
      fail_data("features",
                "the niche_image features of '{}' are incomplete ({}): give spotniche encode once more to go on, or "
                "--features never to read the images",
                packs.pack(p).path(), info->progress());
}

// The same on every rank; rank 0 says it.
void choose(bool says, data::PackSet& packs, const models::StAlign& model, const NicheFeatures& use) {
  if (use.mode == "never") return;
  const bool require = use.mode == "require";
  bool any = false;
  for (std::size_t p = 0; p < packs.packs(); ++p) any = any || packs.pack(p).features(FeatureKind::niche_image);
  if (!any && !require) return;
  const auto images = [&](const std::string& why, bool warn) {
    if (require) fail_data("features", "--features require, but {}", why);
    if (says)
      log::write(warn ? log::Level::warn : log::Level::info,
                 fmt::format("niche features are not read, images are: {}", why));
  };
  if (model.config().niche_adapter) return images("the adapter before the ViT is trained with the model", false);
  if (use.training && !is_frozen(model)) return images("the ViT is trained; --vit-frozen keeps it", false);
  if (use.training || model.config().vit_frozen) refuse_incomplete(packs);
  const std::string why = packs.features_missing(FeatureKind::niche_image);
  if (!why.empty()) return images(why, true);

  const data::FeatureInfo& info = packs.features(FeatureKind::niche_image);
  const std::string own = models::weights_checksum(model.registry(), models::kVitPrefix);
  if (info.checksum != own) {
    if (use.training || model.config().vit_frozen || require) refuse_other_weights(packs, info, own, use);
    return images("they are of other weights than the trained ViT's", false);
  }
  const std::string config = vit_config(model.config()), theirs = fact(info, "encoder_config");
  if (theirs != config)
    fail_data("features", "the niche features of '{}' are of a ViT {}, the model's is {}; encode the pack again",
              packs.pack(0).path(), theirs, config);
  packs.read_stored({true, packs.stored().spot_features});
  log::info("niche images: features of width {} are read in their place (weights {})", info.width, own.substr(0, 12));
  if (says && use.augmented)
    log::write(use.resumed ? log::Level::info : log::Level::warn,
               "the niche gets no augmentation: features were computed from the images as they are; the spot image "
               "keeps its own; --features never trains on augmented niche images");
}

}  // namespace

void use_niche_features(dist::Comm& world, data::PackSet& packs, const models::StAlign& model,
                        const NicheFeatures& use) {
  dist::together(world, "features", [&] { choose(world.rank() == 0, packs, model, use); });
}

}  // namespace spn::cli
