#include "tests/support/scratch.h"

#include <unistd.h>

#include <algorithm>

#include "engine/core/check.h"

namespace spn::test {
namespace {
std::string make_folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "spotniche-test-XXXXXX").string();
  check(::mkdtemp(pattern.data()) != nullptr, "scratch", "cannot make a folder like '{}'", pattern);
  return pattern;
}
}  // namespace

Scratch::Scratch() : path_(make_folder()) {}

Scratch::Scratch(dist::Comm& comm) : comm_(&comm) {
  path_ = dist::all_gather_strings(comm, comm.rank() == 0 ? make_folder() : "").front();
}

Scratch::~Scratch() {
  if (comm_ != nullptr) comm_->barrier();
  std::error_code ignored;
  if (comm_ == nullptr || comm_->rank() == 0) std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> Scratch::files() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace spn::test
