// Pretrained encoders from other people's files, put into a model's registry, and the sum that tells weights apart.
#pragma once

#include <string>
#include <vector>

#include "engine/models/vit.h"
#include "engine/nn/registry.h"

namespace spn::models {

inline constexpr const char* kVitPrefix = "niche_image.backbone.";
inline constexpr const char* kResNetPrefix = "spot_image.backbone.";

// What a load did that is not plain copying: nothing of it stays unsaid.
struct WeightsLoaded {
  std::string source;              // the file or index that was read
  std::int64_t tensors = 0;        // how many came from it
  std::vector<std::string> notes;  // one sentence each
  std::vector<std::string> names;  // ours, of those tensors
};

// All loads: `path` is a safetensors file or a folder (SafetensorsSet); F16, BF16 and F64 become f32; names may also
// stand below `prefix`, as in our checkpoints. Nothing changes unless everything fits: one data error names every
// missing, unexpected and misshapen tensor.

// timm's names of a ViT with class token. Position embeddings of another square grid are resampled as timm does. A
// classifier `head.*` is passed over (it comes after the token that we read); a file without layer scale gets 1.
// UNI2-h and other models with register tokens are refused.
WeightsLoaded load_vit(nn::Registry& registry, const VitSize& size, const std::string& path,
                       const std::string& prefix = kVitPrefix);

// torchvision's and timm's names of a bottleneck ResNet, or those of the published ST-Align (`conv2_x.0.…`). `fc` of
// another width is dropped and stays as it was, as does one that the file lacks.
WeightsLoaded load_resnet(nn::Registry& registry, const std::string& path, const std::string& prefix = kResNetPrefix);

// Our names, of the whole model or of parts of it (docs/formats.md#checkpoint). What the file holds must fit exactly;
// parts that it lacks as a whole stay as they were and are counted, one with a hole is a data error that names the
// tensors (counters of batches may be absent). A data error when it holds nothing.
WeightsLoaded load_ours(nn::Registry& registry, const std::string& path);

// SHA-256 over name (without the prefix), shape and fp32 values of all tensors below the prefix, sorted by name: equal
// for equal weights, whatever file they came from. Counters of batches do not take part: no output depends on them.
std::string weights_checksum(const nn::Registry& registry, const std::string& prefix);

}  // namespace spn::models
