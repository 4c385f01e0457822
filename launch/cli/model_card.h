// README.md of an export: what the model is, what it learned from, how far, and what its licence must respect.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/models/config.h"
#include "launch/cli/sources.h"

namespace spn::cli {

struct CardFacts {
  std::string title, part, names;
  std::string version, training_version;  // of this program; of the one that trained, empty: not known
  std::int64_t tensors = 0, parameters = 0;
  std::string checksum;  // of an encoder, empty for the whole model
  // From state.json; step < 0: not known.
  std::int64_t step = -1, epoch = 0, pairs_seen = 0, global_batch = 0;
  std::uint64_t seed = 0;
  // From events.jsonl and metrics.jsonl of the run; empty: not known. Rows of a table.
  std::vector<std::pair<std::string, std::string>> data, losses;
  std::vector<Source> sources;
  std::vector<std::string> left_out;  // patterns
  models::Config config;
  bool layer_scale = true;  // of an exported ViT
  bool ema = false;         // averaged weights
};

// Reads what can be known about a checkpoint folder and the run that it lies in; what cannot stays unknown.
void gather_run(const std::string& checkpoint, CardFacts& facts);

std::string model_card(const CardFacts& facts);

}  // namespace spn::cli
