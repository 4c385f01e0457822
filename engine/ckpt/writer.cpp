// save(): everything into step-N.tmp, synced and checksummed; one rename makes it a checkpoint; then `latest`; then
// older ones go. A kill between any two lines leaves the last whole checkpoint in place.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "engine/ckpt/layout.h"
#include "engine/core/file.h"
#include "engine/core/log.h"
#include "engine/core/sha256.h"
#include "engine/dist/together.h"

namespace spn::ckpt {
namespace {

namespace fs = std::filesystem;
constexpr const char* kWhere = "checkpoint";

// std::filesystem's errors as ours.
template <class F>
void on_disk(const char* what, const std::string& path, F&& f) {
  std::error_code error;
  f(error);
  if (error) fail_data(kWhere, "cannot {} {}: {}", what, path, error.message());
}

// What an interrupted save or clean-up left behind.
void remove_leftovers(const std::string& checkpoints) {
  std::vector<fs::path> dead;
  for (const auto& e : fs::directory_iterator(checkpoints))
    if (const auto end = e.path().extension(); end == ".tmp" || end == ".old") dead.push_back(e.path());
  for (const auto& p : dead) files::remove_folder(p.string());
}

std::string summary_line(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  return fmt::format("{} {} {}\n", name, fs::file_size(path), sha256_file(path));
}

// This rank's files in the folder; one line "name bytes sha256" for each.
std::string write_own_files(dist::Comm& comm, const std::string& folder, const Snapshot& s) {
  const auto owner = deal(s.optimizer, comm.size());
  std::vector<NamedTensor> share;
  for (std::size_t i = 0; i < owner.size(); ++i)
    if (owner[i] == comm.rank()) share.push_back(s.optimizer[i]);
  const std::string mine = optimizer_file(comm.rank(), comm.size());
  write_safetensors(folder + "/" + mine, share, {}, WriteMode::direct);
  fault_point("optimizer written");
  std::string lines = summary_line(folder, mine);
  if (comm.rank() != 0) return lines;
  write_safetensors(folder + "/" + kModelFile, s.model, {{"spotniche_version", s.state.spotniche_version}},
                    WriteMode::direct);
  fault_point("model written");
  if (!s.ema.empty()) {
    write_safetensors(folder + "/" + kEmaFile, s.ema, {{"spotniche_version", s.state.spotniche_version}},
                      WriteMode::direct);
    lines += summary_line(folder, kEmaFile);
    fault_point("ema written");
  }
  files::FileWriter config(folder + "/" + kConfigFile);
  config.write(s.config_json);
  config.finish();
  fault_point("config written");
  return lines + summary_line(folder, kModelFile) + summary_line(folder, kConfigFile);
}

void write_state(const std::string& folder, const State& state, int ranks, const std::vector<std::string>& summaries) {
  StateFile s{state, {}};
  s.state.world_size = ranks;
  for (const std::string& text : summaries) {
    std::istringstream in(text);
    std::string name;
    FileSum sum;
    while (in >> name >> sum.bytes >> sum.sha256) s.files[name] = sum;
  }
  files::FileWriter file(folder + "/" + kStateFile);
  file.write(state_text(s));
  file.finish();
}

// Renamed first, so that a folder under a final name is never half removed.
void remove_older(const std::string& checkpoints, std::int64_t step, int keep) {
  if (keep <= 0) return;
  int kept = 1;
  for (const std::int64_t other : steps_in(checkpoints)) {
    if (other >= step || ++kept <= keep) continue;
    const std::string folder = checkpoints + "/" + folder_name(other), old = folder + ".old";
    files::rename_durably(folder, old);
    fault_point("older renamed");
    files::remove_folder(old);
  }
}

}  // namespace

std::string save(dist::Comm& comm, const std::string& run_dir, const Snapshot& snapshot, int keep) {
  const std::string checkpoints = checkpoints_of(run_dir);
  const std::string final = checkpoints + "/" + folder_name(snapshot.state.step), aside = final + ".tmp";
  try {
    dist::together(comm, kWhere, [&] {
      if (comm.rank() != 0) return;
      on_disk("make", checkpoints, [&](std::error_code& error) { fs::create_directories(checkpoints, error); });
      remove_leftovers(checkpoints);
      on_disk("make", aside, [&](std::error_code& error) { fs::create_directory(aside, error); });
      fault_point("folder made");
    });
    std::string mine;
    dist::together(comm, kWhere, [&] { mine = write_own_files(comm, aside, snapshot); });
    const auto summaries = dist::all_gather_strings(comm, mine);
    dist::together(comm, kWhere, [&] {
      if (comm.rank() != 0) return;
      write_state(aside, snapshot.state, comm.size(), summaries);
      fault_point("state written");
      files::sync_folder(aside);
      files::replace_folder(aside, final, [] { fault_point("exchanged"); });
      fault_point("renamed");
      files::replace_text(checkpoints + "/" + kLatestFile, folder_name(snapshot.state.step) + "\n");
      fault_point("latest replaced");
      remove_older(checkpoints, snapshot.state.step, keep);
    });
  } catch (...) {
    if (comm.rank() == 0) {
      std::error_code error;
      fs::remove_all(aside, error);
      if (error) log::warn("cannot remove {}: {}", aside, error.message());
    }
    throw;
  }
  return final;
}

}  // namespace spn::ckpt
