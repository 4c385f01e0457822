// Reading checkpoints: verify, load (the optimiser files of any number of ranks joined), find the newest whole one.
#include <algorithm>
#include <filesystem>

#include "engine/ckpt/layout.h"
#include "engine/core/file.h"
#include "engine/core/log.h"
#include "engine/core/sha256.h"

namespace spn::ckpt {
namespace {

namespace fs = std::filesystem;
constexpr const char* kWhere = "checkpoint";

StateFile read_state(const std::string& checkpoint) {
  const std::string path = checkpoint + "/" + kStateFile;
  return parse_state(path, files::read_text(path));
}

// Empty: the file is as it was written.
std::string problem_of(const std::string& path, const FileSum& want) {
  std::error_code none;
  if (!fs::exists(path, none)) return path + " is missing";
  const std::uint64_t bytes = fs::file_size(path, none);
  if (bytes != want.bytes)
    return fmt::format("{}: expected {} bytes, got {}; it is {}", path, want.bytes, bytes,
                       bytes < want.bytes ? "truncated" : "longer than it was written");
  if (const std::string got = sha256_file(path); got != want.sha256)
    return fmt::format("{}: its checksum is {}…, {}… was written; it is damaged", path, got.substr(0, 12),
                       want.sha256.substr(0, 12));
  return "";
}

std::vector<std::string> check_files(const std::string& checkpoint, const StateFile& s) {
  const auto ranks = static_cast<std::size_t>(s.state.world_size);
  if (s.state.world_size < 1 || s.files.size() != ranks + 2 + s.files.count(kEmaFile))
    return {fmt::format("{}/{}: expected the files of {} ranks, got {} files", checkpoint, kStateFile,
                        s.state.world_size, s.files.size())};
  std::vector<std::string> problems;
  std::vector<std::string> wanted = {kModelFile, kConfigFile};
  for (int r = 0; r < s.state.world_size; ++r) wanted.push_back(optimizer_file(r, s.state.world_size));
  for (const auto& name : wanted)
    if (s.files.count(name) == 0) problems.push_back(fmt::format("{}/{} lists no {}", checkpoint, kStateFile, name));
  for (const auto& [name, sum] : s.files)
    if (auto p = problem_of(checkpoint + "/" + name, sum); !p.empty()) problems.push_back(std::move(p));
  return problems;
}

void read_all(const std::string& path, std::map<std::string, Tensor>& into) {
  const SafetensorsReader reader(path);
  for (const auto& [name, info] : reader.tensors())
    if (!into.emplace(name, reader.load(name)).second)
      fail_data(kWhere, "{}: tensor \"{}\" is in another file of this checkpoint too", path, name);
}

}  // namespace

std::vector<std::string> verify(const std::string& checkpoint) {
  try {
    return check_files(checkpoint, read_state(checkpoint));
  } catch (const Error& e) {
    return {e.what()};
  }
}

Loaded load(const std::string& checkpoint) {
  const StateFile s = read_state(checkpoint);
  if (const auto problems = check_files(checkpoint, s); !problems.empty()) {
    std::string text;
    for (const auto& p : problems) text += "\n  " + p;
    fail_data(kWhere, "{} is not whole; resume from another one:{}", checkpoint, text);
  }
  Loaded l;
  l.state = s.state;
  l.config_json = files::read_text(checkpoint + "/" + kConfigFile);
  read_all(checkpoint + "/" + kModelFile, l.model);
  if (s.files.count(kEmaFile) != 0) read_all(checkpoint + "/" + kEmaFile, l.ema);
  for (int r = 0; r < s.state.world_size; ++r)
    read_all(checkpoint + "/" + optimizer_file(r, s.state.world_size), l.optimizer);
  return l;
}

std::optional<std::string> find_latest(const std::string& run_dir) {
  const std::string checkpoints = checkpoints_of(run_dir);
  std::vector<std::string> candidates;
  // what `latest` names comes first: after a resume from an older step, newer folders may belong to the run before it
  std::error_code none;
  if (fs::is_regular_file(checkpoints + "/" + kLatestFile, none)) {
    std::string name = files::read_text(checkpoints + "/" + kLatestFile);
    while (!name.empty() && (name.back() == '\n' || name.back() == '\r')) name.pop_back();
    if (step_of(name))
      candidates.push_back(name);
    else
      log::warn("{}/{} names no checkpoint: '{}'", checkpoints, kLatestFile, name.substr(0, 80));
  }
  for (const std::int64_t step : steps_in(checkpoints))
    if (std::find(candidates.begin(), candidates.end(), folder_name(step)) == candidates.end())
      candidates.push_back(folder_name(step));
  for (const auto& name : candidates) {
    const std::string folder = checkpoints + "/" + name;
    const auto problems = verify(folder);
    if (problems.empty()) return folder;
    log::warn("checkpoint {} is passed over: {}", folder, problems[0]);
  }
  if (!candidates.empty())
    fail_data("resume",
              "none of the {} checkpoints in {} is whole; bring one back, or begin a run of its own: another folder",
              candidates.size(), checkpoints);
  return std::nullopt;
}

}  // namespace spn::ckpt
