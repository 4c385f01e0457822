// inspect for the folders of import and export: what they were made of, and whether they hold what their config.json
// says.
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>

#include "engine/ckpt/file.h"
#include "engine/ckpt/safetensors.h"
#include "engine/core/check.h"
#include "launch/cli/inspect.h"
#include "launch/cli/model_folder.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// Names and shapes against a model of that configuration (which costs no memory: the meta device), where the folder
// holds our names. What export was told to leave out is not missed.
void compare_names(const ckpt::SafetensorsReader& file, const std::string& config, const std::string& path,
                   const std::string& prefix, bool may_lack, Faults& faults) {
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
  if (may_lack || want.empty()) return;
  faults.push_back(
      fmt::format("{}: lacks {} tensors of the model, '{}' first", file.path(), want.size(), want.begin()->first));
}

}  // namespace

Faults inspect_folder(const std::string& folder, bool verify, std::ostream& out) {
  const std::string path = (fs::path(folder) / "config.json").string();
  const std::string config = ckpt::read_text(path);
  const nlohmann::json j = nlohmann::json::parse(config, nullptr, false);
  if (!j.is_object() || !j.contains(kFolderMark) || !j[kFolderMark].is_object())
    fail_data("inspect", "{}: its config.json is not of spotniche's import or export", folder);
  const nlohmann::json& about = j[kFolderMark];
  fmt::print(out, "{}: a model folder (import, export)\n", folder);
  for (const auto& [key, value] : about.items())
    fmt::print(out, "  {:<18} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  Faults faults = inspect_safetensors((fs::path(folder) / "model.safetensors").string(), verify, out);
  const std::string part = about.value("part", "model");
  const bool ours = about.value("names", "spotniche") == "spotniche";
  if (verify && ours)
    compare_names(ckpt::SafetensorsReader((fs::path(folder) / "model.safetensors").string()), config, path,
                  prefix_of(parse_part(part)), about.contains("left_out") || part != "model", faults);
  return faults;
}

}  // namespace spn::cli
