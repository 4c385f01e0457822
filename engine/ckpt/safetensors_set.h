// Tensors of a whole model on disk: one safetensors file, or a folder in the Hugging Face layout with model.safetensors
// or with the shards that model.safetensors.index.json lists.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/ckpt/safetensors.h"

namespace spn::ckpt {

class SafetensorsSet {
 public:
  // Data error naming the path: no such file, no safetensors in the folder, a pickle of PyTorch (with how to convert
  // it), shards that lack what the index promises or hold what it does not list.
  explicit SafetensorsSet(const std::string& path);

  const std::string& path() const { return path_; }  // the file, or the index
  // Which reader holds each tensor.
  const std::map<std::string, const SafetensorsReader*>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  const SafetensorInfo& info(const std::string& name) const { return holder(name).info(name); }
  Tensor load(const std::string& name) const { return holder(name).load(name); }
  void load_into(const std::string& name, const Tensor& to) const { holder(name).load_into(name, to); }
  // Of the first file.
  const Metadata& metadata() const { return files_.front()->metadata(); }

 private:
  const SafetensorsReader& holder(const std::string& name) const;
  void open_shards(const std::string& folder);
  std::string path_;
  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, const SafetensorsReader*> tensors_;
};

}  // namespace spn::ckpt
