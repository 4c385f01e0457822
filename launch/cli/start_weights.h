// Weights that a run begins with, from files: the options of pretrain, and what they put into the model.
#pragma once

#include <string>
#include <vector>

#include "engine/models/st_align.h"
#include "engine/models/weights.h"
#include "engine/train/run_log.h"
#include "launch/cli/options.h"

namespace spn::cli {

struct StartWeights {
  std::string init, niche_image, spot_image;
  bool any() const { return !init.empty() || !niche_image.empty() || !spot_image.empty(); }
};

void add_start_options(Options& options, StartWeights& w);

// One file that was read: for the log and events.jsonl.
struct ReadWeights {
  std::string option;
  models::WeightsLoaded loaded;
  std::string checksum;  // of the encoder (models::weights_checksum); empty for --init
  std::map<std::string, train::EventValue> event() const;
};

// First --init, then the encoders, each said in the log. genes: of the packs; --init with gene encoders that were
// trained on other genes is a data error. Warns when the niche image encoder is frozen and nothing was read for it.
std::vector<ReadWeights> read_start_weights(models::StAlign& model, const StartWeights& w,
                                            const std::vector<std::string>& genes);

}  // namespace spn::cli
