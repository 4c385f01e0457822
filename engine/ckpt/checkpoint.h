// Checkpoints: RUN_DIR/checkpoints/step-00001000/{model.safetensors, config.json, optimizer-R-of-P.safetensors,
// state.json, and ema.safetensors where weights are averaged} and `latest`. Written aside, synced, renamed: a folder
// under its final name is whole.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"
#include "engine/dist/comm.h"

namespace spn::ckpt {

// What a run needs besides tensors to go on exactly where it was.
struct State {
  std::int64_t step = 0;  // steps done
  std::int64_t epoch = 0;
  std::int64_t pairs_seen = 0;  // position in the sample order
  std::uint64_t seed = 0;
  int world_size = 1;  // filled in by save()
  std::int64_t global_batch = 0;
  std::string pack_fingerprint;
  std::string spotniche_version;
  std::map<std::string, std::string> extra;  // counters and the like, by name
};

struct Snapshot {
  State state;
  std::string config_json;             // of the model, with its gene names
  std::vector<NamedTensor> model;      // parameters and buffers; the same on all ranks
  std::vector<NamedTensor> ema;        // averaged weights, the same on all ranks; empty: no file
  std::vector<NamedTensor> optimizer;  // whole optimiser state; the same on all ranks, each writes its share
};

// Collective. Returns the final folder. keep: how many checkpoints stay (older ones are removed only after this one is
// whole); 0: all. A checkpoint of the same step is replaced. Any rank's failure fails all and leaves nothing under the
// final name.
std::string save(dist::Comm& comm, const std::string& run_dir, const Snapshot& snapshot, int keep);

// Newest whole checkpoint of a run directory (absent: none). One that `latest` names but whose checksums fail is passed
// over with a warning. Not collective.
std::optional<std::string> find_latest(const std::string& run_dir);

struct Loaded {
  State state;
  std::string config_json;
  std::map<std::string, Tensor> model, optimizer;  // optimiser state joined from all P files
  std::map<std::string, Tensor> ema;               // empty: the run did not average its weights
};
// Checksums are verified first: data error naming the damaged or missing file.
Loaded load(const std::string& checkpoint);

// What is wrong with a checkpoint folder, one line a problem; empty: whole.
std::vector<std::string> verify(const std::string& checkpoint);

}  // namespace spn::ckpt
