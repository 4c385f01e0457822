// A trained model from disk: what embed and evaluate start with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/pipe/loader.h"
#include "engine/models/st_align.h"

namespace spn::cli {

// What config.json says, beside the model's sizes, of the packs that a model was trained on.
struct TrainedOn {
  std::vector<std::string> genes;  // in order
  std::string spot_gene_key;       // of the spot embeddings; empty: none, or not known
  double spot_window_um = 0;       // 0: not known, as with checkpoints of older versions
};

struct LoadedModel {
  std::unique_ptr<models::StAlign> model;
  std::string folder;    // the checkpoint's folder
  std::string checksum;  // SHA-256 of model.safetensors, or of ema.safetensors
  TrainedOn trained_on;
  std::optional<std::uint64_t> seed;  // of the training run; exports do not know it
};

// DIR: a checkpoint, or a run directory (its newest whole checkpoint). ema: with the averaged weights of a run with
// --ema-decay. Data error when it does not hold a model, or no averaged weights.
LoadedModel load_model(const std::string& folder, bool ema = false, Device device = {});

// config.json of a checkpoint.
std::string checkpoint_config(const models::Config& config, const TrainedOn& packs);
// What a config.json says of it; nothing where it has none. Data error when it is no JSON.
TrainedOn trained_on(const std::string& config_path);

// Data error that says how when the pack's genes or image sizes are not the model's.
void require_fits(const models::Config& config, const std::vector<std::string>& genes, const data::PackSet& packs,
                  const std::string& model_source);

}  // namespace spn::cli
