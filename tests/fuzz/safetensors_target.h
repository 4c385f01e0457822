// What fuzzing and the replay of its corpus do with one file: read its header and every tensor, and expect either
// success or a data error that names the file.
#pragma once

#include <string>

#include "engine/ckpt/safetensors.h"
#include "engine/core/check.h"

namespace spn::test {

enum class FileWas { whole, refused };

inline FileWas read_safetensors_wholly(const std::string& path) {
  try {
    const ckpt::SafetensorsReader reader(path);
    for (const auto& [name, info] : reader.tensors()) {
      // types that we know but have no tensor for are refused one by one
      try {
        const Tensor t = reader.load(name);
        check(t.shape() == info.shape, "fuzz", "loaded {} as {}", info.shape.str(), t.shape().str());
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::data || info.type.empty()) throw;
      }
    }
    return FileWas::whole;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data || std::string(e.what()).find(path) == std::string::npos) throw;
    return FileWas::refused;
  }
}

}  // namespace spn::test
