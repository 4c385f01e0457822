// Where weights came from: kept in a run's events.jsonl and a folder's config.json, so that an export can say whose
// licences apply to it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "data/pipe/loader.h"
#include "engine/train/run_log.h"

namespace spn::cli {

struct Source {
  std::string option;     // "niche-image-weights"; "import"; "niche-features", "spot-features" of packs
  std::string file;       // "uni/model.safetensors"
  std::string checksum;   // empty: not known
  std::string made_from;  // the sources of that file, as text; empty: none known
  bool operator==(const Source&) const = default;
};

// The last two names of a path: says what was read and nothing of the machine.
std::string short_path(const std::string& path);

// Of a folder: what `import` or `export` wrote into its config.json, or what the run began with whose checkpoint it is.
// Empty: none, or not known.
std::vector<Source> sources_of(const std::string& folder);
// "--niche-image-weights uni/model.safetensors (checksum …), made from …; …"
std::string text_of(const std::vector<Source>& sources);

// Encoders whose outputs stand in the packs and are read.
std::vector<Source> sources_of_features(const data::PackSet& packs);
// For an event "weights".
std::map<std::string, train::EventValue> event_of(const Source& source);

}  // namespace spn::cli
