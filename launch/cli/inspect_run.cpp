// inspect for safetensors files, checkpoint folders and run directories.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/ckpt/checkpoint.h"
#include "engine/ckpt/safetensors.h"
#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "launch/cli/inspect.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// A line a tensor whose values are not all finite.
void check_finite(const ckpt::SafetensorsReader& file, Faults& faults) {
  for (const auto& [name, info] : file.tensors()) {
    if (info.type != "F32" && info.type != "F64" && info.type != "BF16" && info.type != "F16") continue;
    const Tensor t = file.load(name);
    std::int64_t bad = 0;
    visit_float(t.dtype(), "inspect", [&](auto e) {
      const auto* p = t.view().ptr<decltype(e)>();
      for (std::int64_t i = 0; i < t.numel(); ++i) bad += !std::isfinite(static_cast<double>(static_cast<float>(p[i])));
    });
    if (bad > 0)
      faults.push_back(fmt::format("{}: tensor '{}' holds {} values that are not finite", file.path(), name, bad));
  }
}

std::int64_t parameters(const ckpt::SafetensorsReader& file) {
  std::int64_t n = 0;
  for (const auto& [name, info] : file.tensors()) n += info.shape.numel();
  return n;
}

nlohmann::json read_json(const fs::path& path) {
  try {
    return parse_json(files::read_text(path.string()));
  } catch (const nlohmann::json::exception& e) {
    fail_data("inspect", "cannot read '{}': {}", path.string(), e.what());
  }
}

// Lines of a .jsonl and its last whole one.
struct Lines {
  std::int64_t count = 0, broken = 0;
  nlohmann::json last;
};
Lines read_lines(const fs::path& path) {
  Lines r;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    auto parsed = try_json(line);
    if (parsed.is_discarded()) {
      ++r.broken;
      continue;
    }
    ++r.count;
    r.last = std::move(parsed);
  }
  return r;
}

}  // namespace

Faults inspect_safetensors(const std::string& path, bool verify, std::ostream& out) {
  const ckpt::SafetensorsReader file(path);
  print(out, "{}: safetensors, {} tensors, {} values\n", path, file.tensors().size(), parameters(file));
  for (const auto& [key, value] : file.metadata())
    print(out, "  metadata    {} = {}\n", key, value.size() > 80 ? value.substr(0, 77) + "..." : value);
  for (const auto& [name, info] : file.tensors()) print(out, "  {:<5} {:<22} {}\n", info.type, info.shape.str(), name);
  Faults faults;
  if (verify) check_finite(file, faults);
  return faults;
}

Faults inspect_checkpoint(const std::string& folder, bool verify, std::ostream& out) {
  const nlohmann::json state = read_json(fs::path(folder) / "state.json");
  print(out, "{}: a checkpoint\n", folder);
  for (const char* key :
       {"step", "epoch", "pairs_seen", "world_size", "global_batch", "seed", "spotniche_version", "pack_fingerprint"})
    if (state.contains(key)) print(out, "  {:<18} {}\n", key, json_text(state[key]));
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path().filename().string());
  std::sort(files.begin(), files.end());
  for (const std::string& f : files) print(out, "  {:>12} bytes  {}\n", fs::file_size(fs::path(folder) / f), f);
  Faults faults = verify ? ckpt::verify(folder) : Faults{};
  const std::string weights = (fs::path(folder) / "model.safetensors").string();
  if (fs::exists(weights)) {
    const ckpt::SafetensorsReader model(weights);
    print(out, "  model              {} tensors, {} values\n", model.tensors().size(), parameters(model));
    if (verify && faults.empty()) check_finite(model, faults);
  } else {
    faults.push_back("expected model.safetensors, got none");
  }
  return faults;
}

Faults inspect_run(const std::string& folder, bool verify, std::ostream& out) {
  const fs::path run(folder);
  Faults faults;
  print(out, "{}: a run directory\n", folder);
  for (const char* name : {"config.cfg", "metrics.jsonl", "events.jsonl"})
    if (!fs::exists(run / name)) faults.push_back(fmt::format("expected {}, got none", name));
  for (const char* name : {"metrics.jsonl", "events.jsonl"}) {
    if (!fs::exists(run / name)) continue;
    const Lines lines = read_lines(run / name);
    print(out, "  {:<14} {} lines{}\n", name, lines.count,
          lines.broken ? fmt::format(", {} broken", lines.broken) : "");
    for (const char* key : {"step", "loss", "event"})
      if (lines.last.contains(key)) print(out, "    last {:<8} {}\n", key, json_text(lines.last[key]));
    if (lines.broken > 0) faults.push_back(fmt::format("{} holds {} lines that are no JSON", name, lines.broken));
  }
  std::vector<std::string> steps;
  if (fs::exists(run / "checkpoints"))
    for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
      if (entry.is_directory() && fs::exists(entry.path() / "state.json")) steps.push_back(entry.path().string());
  std::sort(steps.begin(), steps.end());
  const auto latest = ckpt::find_latest(folder);
  print(out, "  checkpoints    {}{}\n", steps.size(),
        latest ? ", newest whole one " + *latest : ", none to resume from");
  if (verify)
    for (const std::string& step : steps)
      for (const std::string& fault : inspect_checkpoint(step, true, out)) faults.push_back(step + ": " + fault);
  return faults;
}

Faults inspect_evaluation(const std::string& folder, std::ostream& out) {
  const nlohmann::json found = read_json(fs::path(folder) / "metrics.json");
  print(out, "{}: an evaluation\n", folder);
  for (const char* key : {"checkpoint", "checkpoint_sha256", "weights", "precision", "packs"})
    if (found.contains(key)) print(out, "  {:<18} {}\n", key, json_text(found[key]));
  if (!found.contains("all")) return {"metrics.json: expected an object 'all', got none"};
  for (const auto& [target, values] : found["all"].items()) print(out, "  {:<18} {}\n", target, json_text(values));
  return {};
}

}  // namespace spn::cli
