// Which features stand in for images and genes: decided before the first batch, and said.
#pragma once

#include <map>
#include <string>

#include "data/pipe/loader.h"
#include "engine/dist/comm.h"
#include "engine/models/st_align.h"
#include "launch/cli/options.h"

namespace spn::cli {

// What identifies a ViT beside its weights: the model's keys, as JSON.
std::string vit_config(const models::Config& config);

// --features auto, require or never.
void add_features_option(Options& options, std::string* mode);

// A model with spot-gene-encoder = precomputed reads the packs' spot_gene features; without any, the spot vectors of
// packs whose spot vectors are not expression over the gene list. Data error when there is neither. Before anything
// that asks for the packs' spot width or fingerprint. trained_key: what the model was trained on, where that is known;
// another is a data error.
void use_spot_features(data::PackSet& packs, const models::Config& config, const std::string& trained_key = "");
// The key of the embeddings that are read; empty: none are, or their files had none.
std::string spot_gene_key(const data::PackSet& packs);

struct NicheFeatures {
  std::string mode = "auto";   // of --features
  bool training = false;       // embed and evaluate: false
  bool weights_given = false;  // the ViT's weights do not come from the seed alone: the advice is another
  bool augmented = false;      // images are augmented in this run
  bool resumed = false;
};

// Lets batches hold niche_image features where they stand for what the model's own ViT would compute. Data error when
// they are of other weights than a frozen ViT's; with `require`, whenever images would be read. Collective.
void use_niche_features(dist::Comm& world, data::PackSet& packs, const models::StAlign& model,
                        const NicheFeatures& use);

// What batches hold, by name: niche_input = images or features, and of features their checksum, precision and type.
// For state.json, uns and metrics.json.
std::map<std::string, std::string> input_facts(const data::PackSet& packs);
// Usage error when a run that goes on would read something else than it did, naming the option that goes on as before.
// Checkpoints of older versions tell nothing and are taken.
void require_same_inputs(const std::string& checkpoint, const std::map<std::string, std::string>& then,
                         const std::map<std::string, std::string>& now);

}  // namespace spn::cli
