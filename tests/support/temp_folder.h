// A folder of a test's own, removed with everything in it; the same one on every rank when made with a communicator.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::test {

class TempFolder {
 public:
  TempFolder();                           // this process alone
  explicit TempFolder(dist::Comm& comm);  // collective: rank 0 makes it and removes it after a barrier
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> files() const;  // names in the folder, sorted
  // Writes text under name, making folders on the way; returns the whole path.
  std::string put(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
  dist::Comm* comm_ = nullptr;
};

// All bytes of a file; fails when there is none, so that two missing files are not equal.
std::string read_text(const std::string& path);

}  // namespace spn::test
