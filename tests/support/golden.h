// Golden: the tensors that PyTorch wrote for one op family, tests/golden/<family>.safetensors. Names are "case.tensor".
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"
#include "tests/support/paths.h"

namespace spn::test {

class Golden {
 public:
  explicit Golden(const std::string& family)
      : reader_(std::string(SPN_SOURCE_DIR) + "/tests/golden/" + family + ".safetensors") {}

  // Sorted; the part of each name before its first dot.
  std::vector<std::string> cases() const {
    std::set<std::string> s;
    for (const auto& [name, info] : reader_.tensors()) s.insert(name.substr(0, name.find('.')));
    return {s.begin(), s.end()};
  }
  bool has(const std::string& name) const { return reader_.contains(name); }
  Tensor tensor(const std::string& name) const { return reader_.load(name); }
  // An entry of the file's __metadata__; fails when there is none.
  const std::string& text(const std::string& key) const {
    const auto it = reader_.metadata().find(key);
    if (it == reader_.metadata().end()) fail("golden", "{}: no metadata \"{}\"", reader_.path(), key);
    return it->second;
  }

 private:
  ckpt::SafetensorsReader reader_;
};

}  // namespace spn::test
