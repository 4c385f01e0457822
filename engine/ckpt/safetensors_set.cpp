#include "engine/ckpt/safetensors_set.h"

#include <nlohmann/json.hpp>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "engine/core/file.h"

namespace spn::ckpt {
namespace {

namespace fs = std::filesystem;
constexpr const char* kWhere = "safetensors";
constexpr const char* kFile = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndex = 100'000'000;  // as a header

// torch.save writes a zip, long ago a bare pickle. A header's length can begin with the same bytes; then the header
// follows it.
bool is_pickle(const std::string& path) {
  std::array<char, 9> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), head.size());
  const bool bare = head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
  return (bare || std::string_view(head.data(), 4) == "PK\3\4") && head[8] != '{';
}

[[noreturn]] void refuse_pickle(const std::string& path) {
  fail_data(kWhere,
            "{}: expected safetensors, got a pickle of PyTorch, which can run code when it is read; convert it once: "
            "python launch/local/to_safetensors.py {} model.safetensors",
            path, path);
}

nlohmann::json parse_index(const std::string& path) {
  if (fs::file_size(path) > kMaxIndex) fail_data(kWhere, "{}: more than {} bytes, no index", path, kMaxIndex);
  // nothing of an index lies deeper than weight_map's entries
  const auto shallow = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > 8) fail_data(kWhere, "{}: nested too deeply, no index", path);
    return true;
  };
  try {
    return nlohmann::json::parse(files::read_text(path), shallow);
  } catch (const nlohmann::json::exception& e) {
    fail_data(kWhere, "{} is no JSON: {}", path, e.what());
  }
}

}  // namespace

SafetensorsSet::SafetensorsSet(const std::string& path) {
  std::error_code none;
  if (!fs::exists(path, none)) fail_data(kWhere, "{}: no such file or folder", path);
  if (!fs::is_directory(path, none)) {
    if (is_pickle(path)) refuse_pickle(path);
    path_ = path;
  } else if (const std::string file = path + "/" + kFile; fs::exists(file, none)) {
    path_ = file;
  } else if (fs::exists(path + "/" + kIndex, none)) {
    path_ = path + "/" + kIndex;
    open_shards(path);
    return;
  } else {
    for (const char* pickle : {"pytorch_model.bin", "best_model.pt"})
      if (fs::exists(path + "/" + pickle, none)) refuse_pickle(path + "/" + pickle);
    fail_data(kWhere, "{}: expected {} or {} in the folder, got neither", path, kFile, kIndex);
  }
  files_.push_back(std::make_unique<SafetensorsReader>(path_));
  for (const auto& [name, info] : files_.front()->tensors()) tensors_.emplace(name, files_.front().get());
}

void SafetensorsSet::open_shards(const std::string& folder) {
  const nlohmann::json index = parse_index(path_);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object() || map->empty())
    fail_data(kWhere, "{}: expected an object \"weight_map\" from tensors to files, got none", path_);
  std::map<std::string, std::string> file_of;
  std::set<std::string> files;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).filename() != file.get<std::string>())
      fail_data(kWhere, "{}: \"{}\": expected the name of a file in the same folder", path_, name);
    file_of[name] = file.get<std::string>();
    files.insert(file.get<std::string>());
  }
  std::map<std::string, const SafetensorsReader*> opened;
  for (const std::string& file : files) {
    files_.push_back(std::make_unique<SafetensorsReader>(folder + "/" + file));
    opened[file] = files_.back().get();
  }
  for (const auto& [name, file] : file_of) {
    if (!opened[file]->contains(name))
      fail_data(kWhere, "{}: tensor \"{}\" is not in {}; download that file again", path_, name, file);
    tensors_.emplace(name, opened[file]);
  }
  for (const auto& [file, reader] : opened)
    for (const auto& [name, info] : reader->tensors())
      if (const auto it = file_of.find(name); it == file_of.end() || it->second != file)
        fail_data(kWhere, "{}: {} holds tensor \"{}\", which the index does not list there", path_, file, name);
}

const SafetensorsReader& SafetensorsSet::holder(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) fail_data(kWhere, "{}: no tensor \"{}\" among its {}", path_, name, tensors_.size());
  return *it->second;
}

}  // namespace spn::ckpt
