// A folder that vanishes with the test; the same one on every rank when made with make_scratch(world).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::test {

class Scratch {
 public:
  Scratch();                           // this process alone
  explicit Scratch(dist::Comm& comm);  // collective: rank 0 makes it and removes it after a barrier
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string str() const { return path_.string(); }
  std::vector<std::string> files() const;  // names in the folder, sorted

 private:
  std::filesystem::path path_;
  dist::Comm* comm_ = nullptr;
};

}  // namespace spn::test
