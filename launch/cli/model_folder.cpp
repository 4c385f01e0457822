#include "launch/cli/model_folder.h"

#include <filesystem>
#include <set>

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/models/resnet.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;
const std::set<std::string> kFiles = {"model.safetensors", "config.json", "README.md"};

bool is_marked(const fs::path& folder) {
  try {
    return parse_json(files::read_text((folder / "config.json").string())).contains(kFolderMark);
  } catch (const std::exception&) {
    return false;  // unreadable: not known as ours
  }
}

// Without a slash at its end, so that names can be put behind it.
std::string plain(const std::string& folder) {
  std::string s = fs::path(folder).lexically_normal().string();
  while (s.size() > 1 && s.back() == '/') s.pop_back();
  return s;
}

void write_text(const std::string& path, const std::string& text) {
  files::FileWriter file(path);
  file.write(text);
  file.finish();
}

}  // namespace

void require_replaceable(const std::string& command, const std::string& folder) {
  const fs::path p(folder);
  if (!fs::exists(p)) return;
  if (!fs::is_directory(p)) fail_usage(command, "--output {}: expected a folder, got a file", folder);
  if (fs::is_empty(p)) return;
  for (const auto& entry : fs::directory_iterator(p))
    if (kFiles.count(entry.path().filename().string()) == 0)
      fail_usage(command, "--output {}: holds {}, which import and export do not write; choose another folder", folder,
                 entry.path().filename().string());
  if (!is_marked(p))
    fail_usage(command, "--output {}: its config.json is not of an import or export; choose another folder", folder);
}

void write_model_folder(const std::string& folder, const std::vector<ckpt::NamedTensor>& tensors,
                        const std::string& config_json, const nlohmann::json& about, const std::string& readme) {
  const std::string final = plain(folder), aside = final + ".spotniche-tmp";
  auto config = parse_ordered_json(config_json);
  config[kFolderMark] = about;
  std::error_code error;
  fs::create_directories(files::parent_of(final), error);
  files::remove_folder(aside);  // of one that was killed
  fs::create_directory(aside, error);
  if (error) fail_data("file", "cannot make {}: {}", aside, error.message());
  try {
    ckpt::write_safetensors(aside + "/model.safetensors", tensors, {}, ckpt::WriteMode::direct);
    write_text(aside + "/config.json", json_text(config, 2) + "\n");
    if (!readme.empty()) write_text(aside + "/README.md", readme);
    files::sync_folder(aside);
    files::replace_folder(aside, final);
  } catch (...) {
    fs::remove_all(aside, error);
    throw;
  }
}

Part parse_part(const std::string& text) {
  return text == "niche_image" ? Part::niche_image : text == "spot_image" ? Part::spot_image : Part::model;
}

std::string prefix_of(Part part) {
  return part == Part::niche_image ? models::kVitPrefix : part == Part::spot_image ? models::kResNetPrefix : "";
}

std::string settle_names(const std::string& command, Part part, const std::string& names) {
  const std::string foreign = part == Part::niche_image ? "timm" : part == Part::spot_image ? "torchvision" : "";
  if (names.empty()) return foreign.empty() ? "spotniche" : foreign;
  // timm names a ResNet as torchvision does
  if (names == "spotniche" || names == foreign || (part == Part::spot_image && names == "timm")) return names;
  fail_usage(command, "--names {}: expected {} for this part", names,
             foreign.empty() ? "spotniche" : foreign + " or spotniche");
}

PartOfModel read_part(Part part, const models::Config& config, const std::string& path) {
  PartOfModel p;
  if (part == Part::model) {
    p.model = std::make_unique<models::StAlign>(config, 0);
    p.loaded = models::load_ours(p.model->registry(), path);
    return p;
  }
  p.alone = std::make_unique<nn::Registry>(0);
  if (part == Part::niche_image) {
    (void)models::ViT(p.alone->root() / "niche_image" / "backbone", models::vit_size(config));
    p.loaded = models::load_vit(*p.alone, models::vit_size(config), path);
  } else {
    (void)models::ResNet(p.alone->root() / "spot_image" / "backbone", config.depths(), config.resnet_width,
                         config.resnet_stem == "imagenet", config.token_width);
    p.loaded = models::load_resnet(*p.alone, path);
  }
  return p;
}

std::vector<ckpt::NamedTensor> tensors_of(const PartOfModel& part, const std::string& strip) {
  const std::set<std::string> read(part.loaded.names.begin(), part.loaded.names.end());
  std::vector<ckpt::NamedTensor> out;
  for (const auto& e : part.registry().entries())
    if (read.count(e.name) != 0)
      out.push_back({e.name.starts_with(strip) ? e.name.substr(strip.size()) : e.name, e.value()});
  return out;
}

}  // namespace spn::cli
