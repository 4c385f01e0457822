// safetensors files: u64 header length, JSON header padded with spaces, raw little-endian data (docs/formats.md).
// Reads what any writer made, refusing every malformed header; writes what Python's package reads.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/core/file.h"
#include "engine/tensor/tensor.h"

namespace spn::ckpt {

using Metadata = std::map<std::string, std::string>;

struct SafetensorInfo {
  std::string type;  // as in the file: "F32", "BF16", "F16", …
  Shape shape;
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

class SafetensorsReader {
 public:
  // Reads and checks the header. Data error naming the file and why: too short, too long a header, broken JSON, an
  // unknown dtype, duplicate names, offsets that overlap, leave gaps, leave the file or disagree with the shape.
  explicit SafetensorsReader(std::string path);

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, SafetensorInfo>& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  // Data error listing what is there when the name is not.
  const SafetensorInfo& info(const std::string& name) const;
  // A contiguous tensor: F32, BF16, F64, I32, I64, U8 as they are, BOOL as u8, F16 as f32. Other types: data error.
  Tensor load(const std::string& name, Device device = {}) const;
  // Into an existing tensor of equal shape; converts between floating dtypes, never between integers and floats.
  void load_into(const std::string& name, const Tensor& to) const;

 private:
  files::FileReader file_;
  std::uint64_t data_start_ = 0;
  std::map<std::string, SafetensorInfo> tensors_;
  Metadata metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// aside: path + ".tmp" is written and renamed to path. direct: path itself (inside a folder that is itself renamed).
// Both fsync. On failure nothing is left behind.
enum class WriteMode : std::uint8_t { aside, direct };

// Tensors in any order, layout and device; stored row-major, by element size descending, then by name. "format": "pt"
// is added to the metadata. Duplicate names are an internal error.
void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors, const Metadata& metadata = {},
                       WriteMode mode = WriteMode::aside);

}  // namespace spn::ckpt
