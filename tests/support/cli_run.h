// What tests of whole runs share: small slides and packs made once, runs of the binary, their metrics and weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"
#include "tests/support/run_binary.h"
#include "tests/support/temp_folder.h"

namespace spn::test {

// Two made slides of 48 spots and packs of them (64 genes), in a folder that lives as long as the test binary.
struct MadeData {
  TempFolder folder;
  std::string slides, train_pack, held_out_pack;
  MadeData();
};
const MadeData& made_data();

// Options of a model that trains in a blink: about 50,000 parameters.
extern const char* const kSmallModel;

// A copy of the training pack in a folder; what encodes one with random weights.
std::string copy_pack(const TempFolder& folder, const std::string& name);
std::string encode_args(const std::string& pack, const std::string& more);

// That a command ended with this status and said these words.
void expect(const Ran& ran, int status, const std::vector<std::string>& words);

// One line of metrics.jsonl.
using MetricsLine = std::map<std::string, double>;
std::vector<MetricsLine> read_metrics(const std::string& run_dir);
// model.safetensors of a checkpoint folder.
std::map<std::string, Tensor> read_weights(const std::string& checkpoint);
// The folder of a run's checkpoint.
std::string checkpoint(const std::string& run_dir, int step);
// ‖a − b‖ / ‖b‖ over all tensors.
double relative_distance(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b);
// "mpirun -np N" with what a test machine needs.
std::string on_ranks(int ranks);

}  // namespace spn::test
