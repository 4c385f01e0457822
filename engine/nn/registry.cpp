#include "engine/nn/registry.h"

#include <fnmatch.h>

#include <algorithm>

namespace spn::nn {

void Registry::require_new(const std::string& name) const {
  check(std::none_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; }), "registry",
        "{} is declared twice", name);
}

Var Registry::add_parameter(const std::string& name, const Shape& shape, const Init& init) {
  require_new(name);
  Entry e;
  e.name = name;
  const Tensor value =
      seed_ ? initial_value(init, shape, *seed_, name).to(dtype_).to(device_) : Tensor::zeros(shape, dtype_, device_);
  e.parameter = Var(value, true, name);
  e.parameter.keep_rounded(true);
  entries_.push_back(e);
  return e.parameter;
}

Tensor Registry::add_buffer(const std::string& name, const Shape& shape, double value, DType dtype) {
  require_new(name);
  Entry e;
  e.name = name;
  // counters are the host's: no kernel reads them
  e.buffer = Tensor::full(shape, value, dtype == DType::f32 ? dtype_ : dtype, dtype == DType::i64 ? Device{} : device_);
  entries_.push_back(e);
  return e.buffer;
}

std::vector<Var> Registry::trainable() const {
  std::vector<Var> v;
  for (const auto& e : entries_)
    if (e.parameter && e.parameter.requires_grad()) v.push_back(e.parameter);
  return v;
}

std::int64_t Registry::count(const std::string& prefix) const {
  std::int64_t n = 0;
  for (const auto& e : entries_)
    if (e.parameter && e.name.rfind(prefix, 0) == 0) n += e.parameter.value().numel();
  return n;
}

void Registry::load(const std::map<std::string, Tensor>& tensors, const std::string& source,
                    const std::string& prefix) {
  std::string problems;
  int count = 0;
  const auto problem = [&](const std::string& text) {
    if (++count <= 20) problems += "\n  " + text;
  };
  for (const auto& e : entries_) {
    if (e.name.rfind(prefix, 0) != 0) continue;
    const auto it = tensors.find(e.name);
    if (it == tensors.end())
      problem("missing " + e.name + " " + e.value().shape().str());
    else if (!(it->second.shape() == e.value().shape()))
      problem(e.name + ": expected shape " + e.value().shape().str() + ", got " + it->second.shape().str());
  }
  for (const auto& [name, t] : tensors)
    if (name.rfind(prefix, 0) == 0 &&
        std::none_of(entries_.begin(), entries_.end(), [&n = name](const Entry& e) { return e.name == n; }))
      problem("unexpected " + name + " " + t.shape().str());
  if (count > 0)
    fail_data("weights",
              "{} does not fit this model: {} tensors differ; use the model configuration it was saved with:{}", source,
              count, problems);
  for (const auto& e : entries_) {
    if (e.name.rfind(prefix, 0) != 0) continue;
    e.value().copy_from(tensors.at(e.name).to(e.value().dtype()).to(e.value().device()));
    e.written();
  }
}

void Registry::keep_rounded(bool on) const {
  for (const auto& e : entries_)
    if (e.parameter) e.parameter.keep_rounded(on);
}

std::size_t Registry::rounded_bytes() const {
  std::size_t bytes = 0;
  for (const auto& e : entries_)
    if (const Tensor& t = e.parameter.rounded()) bytes += t.bytes();
  return bytes;
}

int Registry::freeze(const std::string& pattern) {
  int matched = 0;
  for (const auto& e : entries_) {
    if (!e.parameter || fnmatch(pattern.c_str(), e.name.c_str(), 0) != 0) continue;
    e.parameter.set_requires_grad(false);
    ++matched;
  }
  return matched;
}

}  // namespace spn::nn
