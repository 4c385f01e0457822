#include "engine/ckpt/restore.h"

#include <set>

namespace spn::ckpt {

void restore(const char* where, const char* what, std::span<const NamedTensor> into,
             const std::map<std::string, Tensor>& saved, const std::string& source) {
  std::string problems;
  int count = 0;
  const auto problem = [&](const std::string& text) {
    if (++count <= 20) problems += "\n  " + text;
  };
  std::set<std::string> known;
  for (const auto& [name, t] : into) {
    known.insert(name);
    const auto it = saved.find(name);
    if (it == saved.end())
      problem("missing " + name);
    else if (!(it->second.shape() == t.shape()) || it->second.dtype() != t.dtype())
      problem(fmt::format("{}: expected {} {}, got {} {}", name, name_of(t.dtype()), t.shape().str(),
                          name_of(it->second.dtype()), it->second.shape().str()));
  }
  for (const auto& [name, t] : saved)
    if (known.count(name) == 0) problem("unexpected " + name);
  if (count > 0)
    fail_data(where,
              "{} of {} does not fit: {} tensors differ; resume with the same model, optimiser and frozen parts:{}",
              what, source, count, problems);
  for (const auto& [name, t] : into) t.copy_from(saved.at(name).to(t.device()));
}

}  // namespace spn::ckpt
