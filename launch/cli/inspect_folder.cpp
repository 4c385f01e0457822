// inspect for the folders of import and export: what they were made of, and whether they hold what their config.json
// says.
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/ckpt/safetensors.h"
#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "launch/cli/inspect.h"
#include "launch/cli/model_folder.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// Names and shapes against a model of that configuration (which costs no memory: the meta device), where the folder
// holds our names. Returns what is not there; what export was told to leave out is not missed.
std::vector<std::string> compare_names(const ckpt::SafetensorsReader& file, const std::string& config,
                                       const std::string& path, const std::string& prefix,
                                       const std::vector<std::string>& left_out, Faults& faults) {
  const models::StAlign model(models::from_json(config, path), std::nullopt, Device{DeviceType::meta, 0});
  std::map<std::string, Shape> want;
  for (const auto& e : model.registry().entries())
    if (e.name.starts_with(prefix)) want[e.name] = e.value().shape();
  for (const auto& [name, info] : file.tensors()) {
    const auto it = want.find(name);
    if (it == want.end())
      faults.push_back(fmt::format("{}: config.json describes no tensor '{}'", file.path(), name));
    else if (it->second != info.shape)
      faults.push_back(
          fmt::format("{}: expected '{}' of shape {}, got {}", file.path(), name, it->second.str(), info.shape.str()));
    want.erase(name);
  }
  std::vector<std::string> missing;
  for (const auto& [name, shape] : want)
    if (std::none_of(left_out.begin(), left_out.end(),
                     [&, &tensor = name](const std::string& p) { return fnmatch(p.c_str(), tensor.c_str(), 0) == 0; }))
      missing.push_back(name);
  return missing;
}

}  // namespace

Faults inspect_folder(const std::string& folder, bool verify, std::ostream& out) {
  const std::string path = (fs::path(folder) / "config.json").string();
  const std::string config = files::read_text(path);
  const nlohmann::json j = try_json(config);
  if (!j.is_object() || !j.contains(kFolderMark) || !j[kFolderMark].is_object())
    fail_data("inspect", "{}: its config.json is not of spotniche's import or export", folder);
  const nlohmann::json& about = j[kFolderMark];
  print(out, "{}: a model folder (import, export)\n", folder);
  for (const auto& [key, value] : about.items())
    print(out, "  {:<18} {}\n", key, value.is_string() ? value.get<std::string>() : json_text(value));
  Faults faults = inspect_safetensors((fs::path(folder) / "model.safetensors").string(), verify, out);
  const std::string part = about.value("part", "model");
  if (!verify || about.value("names", "spotniche") != "spotniche") return faults;
  const auto left_out = about.value("left_out", std::vector<std::string>());
  const ckpt::SafetensorsReader file((fs::path(folder) / "model.safetensors").string());
  const auto missing = compare_names(file, config, path, prefix_of(parse_part(part)), left_out, faults);
  if (missing.empty()) return faults;
  const std::string lacks =
      fmt::format("{}: lacks {} tensors of its part, '{}' first", file.path(), missing.size(), missing[0]);
  // a file that import was given may hold a part of a model; pretrain --init says what keeps its initial values
  if (about.value("made_by", "") == "import")
    print(out, "  {}\n", lacks);
  else
    faults.push_back(lacks);
  return faults;
}

}  // namespace spn::cli
