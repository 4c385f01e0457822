#include "tests/support/temp_folder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/core/check.h"

namespace spn::test {
namespace {
std::string make_folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "spotniche-test-XXXXXX").string();
  check(::mkdtemp(pattern.data()) != nullptr, "test", "cannot make a folder like '{}'", pattern);
  return pattern;
}
}  // namespace

TempFolder::TempFolder() : path_(make_folder()) {}

TempFolder::TempFolder(dist::Comm& comm) : comm_(&comm) {
  path_ = dist::all_gather_strings(comm, comm.rank() == 0 ? make_folder() : "").front();
}

TempFolder::~TempFolder() {
  if (comm_ != nullptr) comm_->barrier();
  std::error_code ignored;
  if (comm_ == nullptr || comm_->rank() == 0) std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> TempFolder::files() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string TempFolder::put(const std::string& name, const std::string& text) const {
  const std::filesystem::path file = std::filesystem::path(path_) / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file.string();
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  check(in.good(), "test", "cannot read {}", path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace spn::test
