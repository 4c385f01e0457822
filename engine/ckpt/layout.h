// Names inside RUN_DIR/checkpoints, and the text of state.json. Internal to ckpt.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ckpt/checkpoint.h"

namespace spn::ckpt {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kEmaFile = "ema.safetensors";
inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kLatestFile = "latest";

std::string folder_name(std::int64_t step);                      // "step-00001000"
std::optional<std::int64_t> step_of(const std::string& folder);  // absent: no checkpoint's name
std::string optimizer_file(int rank, int ranks);                 // "optimizer-0-of-4.safetensors"
std::string checkpoints_of(const std::string& run_dir);
// Steps of all folders with a final name, newest first. No folder at all: empty.
std::vector<std::int64_t> steps_in(const std::string& checkpoints);

struct FileSum {
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct StateFile {
  State state;
  std::map<std::string, FileSum> files;
};

// state.json carries a checksum of itself, so that a flipped bit in a number is seen too.
std::string state_text(const StateFile& s);
// Data error naming the path.
StateFile parse_state(const std::string& path, const std::string& text);

// Which rank writes each tensor: largest first to the rank with the fewest bytes. The same on every rank.
std::vector<int> deal(const std::vector<NamedTensor>& tensors, int ranks);

// For tests: called with the name of every step of a save, in order. May throw or end the process.
void set_fault_hook(std::function<void(std::string_view)> hook);
void fault_point(std::string_view name);

}  // namespace spn::ckpt
