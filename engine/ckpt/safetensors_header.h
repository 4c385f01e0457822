// The JSON header of a safetensors file, read event by event: a file of a few bytes or of a hundred megabytes costs no
// more memory than the tensors that it names, and no nesting is followed further than the format's own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/ckpt/safetensors.h"

namespace spn::ckpt {

struct SafetensorsHeader {
  std::map<std::string, SafetensorInfo> tensors;
  Metadata metadata;
};

// data_bytes: what follows the header in the file. Data error naming `path` and the tensor for everything malformed.
SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view text, std::uint64_t data_bytes);

}  // namespace spn::ckpt
