#include "launch/cli/sources.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/core/json.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Without a slash at its end, so that parent_path() is the folder around it.
fs::path plain(const std::string& folder) {
  const fs::path p = fs::absolute(folder).lexically_normal();
  return p.has_filename() ? p : p.parent_path();
}

std::string text(const json& j, const char* key) {
  const auto it = j.find(key);
  return it != j.end() && it->is_string() ? it->get<std::string>() : "";
}

Source source_of(const json& j) {
  return {text(j, "option"), short_path(text(j, "source")), text(j, "checksum"), text(j, "made_from")};
}

std::vector<Source> of_run(const fs::path& events) {
  std::vector<Source> sources;
  std::ifstream in(events);
  for (std::string line; std::getline(in, line);) {
    const json j = try_json(line);
    if (!j.is_object()) continue;
    const std::string kind = text(j, "event");
    // written when a run begins or goes on from another run: what was read follows
    if (kind == "start" || kind == "data") sources.clear();
    if (kind != "weights") continue;
    const Source s = source_of(j);
    if (std::find(sources.begin(), sources.end(), s) == sources.end()) sources.push_back(s);
  }
  return sources;
}

}  // namespace

std::string short_path(const std::string& path) {
  const fs::path p = fs::path(path).lexically_normal();
  const std::string folder = p.parent_path().filename().string();
  return folder.empty() || folder == ".." ? p.filename().string() : folder + "/" + p.filename().string();
}

std::vector<Source> sources_of(const std::string& folder) {
  const fs::path p = plain(folder);
  std::ifstream config(p / "config.json");
  const json j = try_json(config);
  if (j.is_object() && j.contains("spotniche_folder") && j["spotniche_folder"].is_object()) {
    const json& about = j["spotniche_folder"];
    if (text(about, "made_by") == "import")
      return {{"import", short_path(text(about, "source")), text(about, "checksum"), text(about, "made_from")}};
    std::vector<Source> sources;
    if (const auto list = about.find("sources"); list != about.end() && list->is_array())
      for (const json& s : *list)
        if (s.is_object()) sources.push_back(source_of(s));
    return sources;
  }
  // RUN_DIR/checkpoints/step-N
  if (p.parent_path().filename() != "checkpoints") return {};
  return of_run(p.parent_path().parent_path() / "events.jsonl");
}

std::string text_of(const std::vector<Source>& sources) {
  std::string out;
  for (const Source& s : sources) {
    out += fmt::format("{}{} {}", out.empty() ? "" : "; ", s.option, s.file);
    if (!s.checksum.empty()) out += fmt::format(" (checksum {})", s.checksum);
    if (!s.made_from.empty()) out += ", made from " + s.made_from;
  }
  return out;
}

std::vector<Source> sources_of_features(const data::PackSet& packs) {
  std::vector<Source> sources;
  const auto add = [&](const char* option, data::FeatureKind kind, const char* file) {
    const data::FeatureInfo& info = packs.features(kind);
    const auto found = info.facts.find(file);
    sources.push_back({option, found == info.facts.end() ? "" : short_path(found->second), info.checksum, ""});
  };
  if (packs.stored().niche_features) add("niche-features", data::FeatureKind::niche_image, "weights");
  if (packs.stored().spot_features) add("spot-features", data::FeatureKind::spot_gene, "source");
  return sources;
}

std::map<std::string, train::EventValue> event_of(const Source& s) {
  return {{"option", s.option}, {"source", s.file}, {"checksum", s.checksum}, {"made_from", s.made_from}};
}

}  // namespace spn::cli
