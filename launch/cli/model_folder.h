// A folder in the Hugging Face layout (model.safetensors, config.json, README.md): what import and export write.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"
#include "engine/models/st_align.h"
#include "engine/models/weights.h"

namespace spn::cli {

// The key of config.json by which such a folder is known as ours; its value tells what it was made of.
inline constexpr const char* kFolderMark = "spotniche_folder";

// Usage error unless the name is free, an empty folder, or a folder of an earlier import or export with nothing else in
// it: what others wrote is not replaced.
void require_replaceable(const std::string& command, const std::string& folder);

// Written aside, synced, renamed. config_json gets kFolderMark = about.
// readme empty: none.
void write_model_folder(const std::string& folder, const std::vector<ckpt::NamedTensor>& tensors,
                        const std::string& config_json, const nlohmann::json& about, const std::string& readme);

enum class Part : std::uint8_t { model, niche_image, spot_image };
Part parse_part(const std::string& text);
// "", kVitPrefix or kResNetPrefix.
std::string prefix_of(Part part);
// timm, torchvision or spotniche; empty: the one that others use for this part. Usage error when it has no such names.
std::string settle_names(const std::string& command, Part part, const std::string& names);

// A whole model, or one encoder alone, which costs no more memory than it needs.
struct PartOfModel {
  std::unique_ptr<models::StAlign> model;
  std::unique_ptr<nn::Registry> alone;
  models::WeightsLoaded loaded;
  const nn::Registry& registry() const { return model ? model->registry() : *alone; }
};
// Reads path into that part of a model of this configuration.
PartOfModel read_part(Part part, const models::Config& config, const std::string& path);
// What was read, under our names; strip: without the part's prefix.
std::vector<ckpt::NamedTensor> tensors_of(const PartOfModel& part, const std::string& strip);

}  // namespace spn::cli
