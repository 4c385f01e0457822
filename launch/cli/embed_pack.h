// A trained model over packs, as embed and evaluate run it: the options they share, and embeddings of all rows,
// computed by all ranks and joined on rank 0.
#pragma once

#include "data/pipe/loader.h"
#include "engine/dist/comm.h"
#include "engine/eval/embed.h"
#include "launch/cli/device.h"
#include "launch/cli/load_model.h"
#include "launch/cli/options.h"
#include "launch/cli/precision.h"

namespace spn::cli {

struct EmbedOptions {
  std::string checkpoint, features = "auto";
  std::vector<std::string> packs;
  std::int64_t batch = 256;  // rows that a rank embeds at once
  Precision precision;
  DeviceChoice device;
  bool ema = false;

  // about_packs: what the command's packs are, for --help.
  void add_to(Options& options, const char* about_packs);
  // Usage errors; then opens the device. Collective.
  void open(dist::Comm& world, const char* command);
  const char* weights() const { return ema ? "ema" : "model"; }
};

struct ModelOnPacks {
  LoadedModel loaded;
  data::PackSet packs;
};

// Data error when the packs are not what the model was trained on. Collective.
ModelOnPacks load_model_on_packs(dist::Comm& world, const EmbedOptions& options);

// Rows in pack order. Only rank 0 gets values; the others empty vectors. Collective.
eval::Embeddings embed_packs(dist::Comm& world, const ModelOnPacks& what, const EmbedOptions& options);

}  // namespace spn::cli
