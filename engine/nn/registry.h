// Registry: every parameter and buffer of a model under its exported name (docs/model.md), in order of construction.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/autograd/var.h"
#include "engine/nn/init.h"

namespace spn::nn {

class Scope;

class Registry {
 public:
  // seed: of the initial values; nullopt: zeros, for a model whose weights are loaded next. dtype: of parameters and
  // statistics; f64 for checks.
  explicit Registry(std::optional<std::uint64_t> seed, Device device = {}, DType dtype = DType::f32)
      : seed_(seed), device_(device), dtype_(dtype) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  struct Entry {
    std::string name;
    Var parameter;  // absent for a buffer
    Tensor buffer;  // absent for a parameter
    const Tensor& value() const { return parameter ? parameter.value() : buffer; }
    // After value() was written to: what is kept beside it follows.
    void written() const { parameter.renew_rounded(); }
  };

  Scope root();
  const std::vector<Entry>& entries() const { return entries_; }
  DType dtype() const { return dtype_; }
  // Whether parameters that layers use in bf16 are kept in it too, from their first use on (Var::value_as): the same
  // bits as rounding them at every use. On at start.
  void keep_rounded(bool on) const;
  // Bytes of what is kept so.
  std::size_t rounded_bytes() const;
  // Parameters that are trained, in order of construction.
  std::vector<Var> trainable() const;
  // Elements of all parameters whose name starts with prefix (buffers do not count).
  std::int64_t count(const std::string& prefix = "") const;

  // Replaces values by name. Usage of names is exact: every missing, unexpected or misshapen tensor is listed in one
  // data error that names `source`. prefix: only names below it take part.
  void load(const std::map<std::string, Tensor>& tensors, const std::string& source, const std::string& prefix = "");
  // Parameters matching the shell pattern ('niche_image.backbone.*') no longer get gradients. Returns how many matched.
  int freeze(const std::string& pattern);

 private:
  friend class Scope;
  Var add_parameter(const std::string& name, const Shape& shape, const Init& init);
  Tensor add_buffer(const std::string& name, const Shape& shape, double value, DType dtype);
  void require_new(const std::string& name) const;
  std::optional<std::uint64_t> seed_;
  Device device_;
  DType dtype_;
  std::vector<Entry> entries_;
};

// A prefix below which a part declares its tensors: scope / "layer1" / "0".
class Scope {
 public:
  Scope(Registry& registry, std::string prefix) : registry_(&registry), prefix_(std::move(prefix)) {}
  Scope operator/(const std::string& name) const {
    return Scope(*registry_, prefix_.empty() ? name : prefix_ + "." + name);
  }
  Var parameter(const std::string& name, const Shape& shape, const Init& init) const {
    return registry_->add_parameter((*this / name).prefix_, shape, init);
  }
  Tensor buffer(const std::string& name, const Shape& shape, double value, DType dtype = DType::f32) const {
    return registry_->add_buffer((*this / name).prefix_, shape, value, dtype);
  }
  const std::string& prefix() const { return prefix_; }
  // A number for dropout that is unique to this place in the model and stable when other parts change.
  std::uint32_t layer_id() const { return static_cast<std::uint32_t>(name_hash(prefix_)); }

 private:
  Registry* registry_;
  std::string prefix_;
};

inline Scope Registry::root() { return Scope(*this, ""); }

}  // namespace spn::nn
