#include "launch/cli/checkpoint_files.h"

#include <algorithm>
#include <filesystem>

#include "engine/ckpt/checkpoint.h"

namespace spn::cli {

namespace fs = std::filesystem;

std::string resolve_checkpoint(const std::string& path) {
  std::error_code none;
  if (!fs::exists(fs::path(path) / "checkpoints", none)) return path;
  const auto newest = ckpt::find_latest(path);
  if (!newest) fail_data("checkpoint", "{} holds no whole checkpoint yet; train longer or name another folder", path);
  return *newest;
}

std::string averages_path(const std::string& folder) { return (fs::path(folder) / "ema.safetensors").string(); }

std::int64_t use_averages(const nn::Registry& registry, const std::string& folder, const std::string& prefix) {
  const std::string path = averages_path(folder);
  if (!fs::exists(path))
    fail_data("checkpoint", "{}: expected ema.safetensors, got none; leave --ema out, or train with --ema-decay",
              folder);
  const ckpt::SafetensorsReader averages(path);
  std::int64_t used = 0;
  const auto& entries = registry.entries();
  for (const auto& [name, info] : averages.tensors()) {
    if (!name.starts_with(prefix)) continue;
    const auto at = std::find_if(entries.begin(), entries.end(), [&n = name](const auto& e) { return e.name == n; });
    if (at == entries.end()) fail_data("checkpoint", "{}: the model has no {}", path, name);
    averages.load_into(name, at->value());
    at->written();
    ++used;
  }
  return used;
}

}  // namespace spn::cli
