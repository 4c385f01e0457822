#include "launch/cli/output.h"

#include <filesystem>

#include "engine/core/check.h"

namespace spn::cli {

namespace fs = std::filesystem;

void require_file_place(const char* command, const std::string& output) {
  std::error_code none;
  if (output.empty()) fail_usage(command, "--output: expected the name of the file to write");
  if (fs::is_directory(output, none)) fail_usage(command, "--output {}: expected a file, got a folder", output);
  const fs::path folder = fs::path(output).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, none))
    fail_usage(command, "--output {}: there is no folder {}; make it first", output, folder.string());
}

void require_folder_place(const char* command, const std::string& output) {
  std::error_code none;
  if (output.empty()) fail_usage(command, "--output: expected the name of a folder");
  if (fs::exists(output, none) && !fs::is_directory(output, none))
    fail_usage(command, "--output {}: expected a folder, got a file", output);
}

}  // namespace spn::cli
