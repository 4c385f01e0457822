#include "launch/cli/run_folder.h"

#include <filesystem>
#include <fstream>

#include "engine/core/check.h"
#include "engine/core/json.h"
#include "engine/dist/together.h"

namespace spn::cli {

namespace fs = std::filesystem;

RunLock::RunLock(dist::Comm& world, const std::string& run_dir) : run_dir_(run_dir) {
  dist::together(world, "pretrain", [&] {
    if (world.rank() != 0) return;
    std::error_code error;
    made_ = fs::create_directories(run_dir, error);
    if (error) fail_data("pretrain", "cannot make the folder {}: {}", run_dir, error.message());
    lock_ = data::WriterLock(run_dir + "/run", "pretrain");
  });
}

RunLock::~RunLock() {
  lock_.release();
  std::error_code none;
  if (made_) fs::remove(run_dir_, none);
}

bool is_own_checkpoint(const std::string& checkpoint, const std::string& run_dir) {
  std::error_code none;
  const fs::path own = fs::weakly_canonical(run_dir, none) / "checkpoints";
  fs::path folder = fs::weakly_canonical(checkpoint, none);
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder.parent_path() == own;
}

bool began_from(const std::string& checkpoint, const std::string& run_dir) {
  std::ifstream events(run_dir + "/events.jsonl");
  std::string first;
  std::getline(events, first);
  const auto event = try_json(first);
  return event.is_object() && event.value("event", "") == "resumed" && event.value("checkpoint", "") == checkpoint;
}

}  // namespace spn::cli
