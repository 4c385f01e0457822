#include "engine/ckpt/layout.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "engine/core/json.h"
#include "engine/core/sha256.h"

namespace spn::ckpt {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "spotniche-checkpoint";
constexpr int kVersion = 1;

std::function<void(std::string_view)>& hook() {
  static std::function<void(std::string_view)> h;
  return h;
}

std::string own_sum(Json json) {
  json.erase("sha256");
  return sha256(json_text(json));
}

}  // namespace

std::string folder_name(std::int64_t step) { return fmt::format("step-{:08}", step); }

std::optional<std::int64_t> step_of(const std::string& folder) {
  constexpr std::string_view prefix = "step-";
  if (!folder.starts_with(prefix)) return std::nullopt;
  const std::string digits = folder.substr(prefix.size());
  if (digits.size() < 8 || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(digits);
}

std::string optimizer_file(int rank, int ranks) { return fmt::format("optimizer-{}-of-{}.safetensors", rank, ranks); }

std::string checkpoints_of(const std::string& run_dir) { return run_dir + "/checkpoints"; }

std::vector<std::int64_t> steps_in(const std::string& checkpoints) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  std::filesystem::directory_iterator entries(checkpoints, error);
  if (error && error != std::errc::no_such_file_or_directory)
    fail_data("checkpoint", "cannot look into {}: {}", checkpoints, error.message());
  for (const auto& e : entries)
    if (const auto step = step_of(e.path().filename().string()); step && e.is_directory()) steps.push_back(*step);
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::string state_text(const StateFile& s) {
  Json j;
  j["format"] = kFormat;
  j["format_version"] = kVersion;
  j["step"] = s.state.step;
  j["epoch"] = s.state.epoch;
  j["pairs_seen"] = s.state.pairs_seen;
  j["seed"] = s.state.seed;
  j["world_size"] = s.state.world_size;
  j["global_batch"] = s.state.global_batch;
  j["pack_fingerprint"] = s.state.pack_fingerprint;
  j["spotniche_version"] = s.state.spotniche_version;
  j["extra"] = s.state.extra;
  j["files"] = Json::object();
  for (const auto& [name, sum] : s.files) j["files"][name] = {{"bytes", sum.bytes}, {"sha256", sum.sha256}};
  j["sha256"] = own_sum(j);
  return json_text(j, 2) + "\n";
}

StateFile parse_state(const std::string& path, const std::string& text) {
  try {
    const Json j = parse_ordered_json(text);
    if (j.at("format") != kFormat || j.at("format_version") != kVersion)
      fail_data("checkpoint", "{}: expected format {} version {}, got {} version {}; use the spotniche that wrote it",
                path, kFormat, kVersion, json_text(j.at("format")), json_text(j.at("format_version")));
    if (j.at("sha256").get<std::string>() != own_sum(j))
      fail_data("checkpoint", "{}: its text does not match its own checksum; it is damaged", path);
    StateFile s;
    j.at("step").get_to(s.state.step);
    j.at("epoch").get_to(s.state.epoch);
    j.at("pairs_seen").get_to(s.state.pairs_seen);
    j.at("seed").get_to(s.state.seed);
    j.at("world_size").get_to(s.state.world_size);
    j.at("global_batch").get_to(s.state.global_batch);
    j.at("pack_fingerprint").get_to(s.state.pack_fingerprint);
    j.at("spotniche_version").get_to(s.state.spotniche_version);
    for (const auto& [key, value] : j.at("extra").items()) s.state.extra[key] = value.get<std::string>();
    for (const auto& [name, sum] : j.at("files").items())
      s.files[name] = {sum.at("bytes").get<std::uint64_t>(), sum.at("sha256").get<std::string>()};
    return s;
  } catch (const Json::exception& e) {
    fail_data("checkpoint", "{}: {}; it is damaged", path, e.what());
  }
}

std::vector<int> deal(const std::vector<NamedTensor>& tensors, int ranks) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::size_t ba = tensors[a].tensor.bytes(), bb = tensors[b].tensor.bytes();
    return ba != bb ? ba > bb : tensors[a].name < tensors[b].name;
  });
  std::vector<std::size_t> load(static_cast<std::size_t>(ranks), 0);
  std::vector<int> owner(tensors.size());
  for (const std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[i] = static_cast<int>(least - load.begin());
    *least += tensors[i].tensor.bytes();
  }
  return owner;
}

void set_fault_hook(std::function<void(std::string_view)> h) { hook() = std::move(h); }
void fault_point(std::string_view name) {
  if (hook()) hook()(name);
}

}  // namespace spn::ckpt
