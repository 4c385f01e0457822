#include "engine/optim/groups.h"

#include <fnmatch.h>

namespace spn::optim {

std::vector<Item> make_items(const std::vector<Var>& trainable, const std::vector<LrScale>& scales) {
  std::vector<Item> items;
  std::vector<bool> used(scales.size(), false);
  for (const Var& v : trainable) {
    check(v && v.requires_grad() && !v.name().empty(), "optim", "expected named parameters that require a gradient");
    const bool bias = v.name().ends_with(".bias") || v.name() == "bias";
    Item item{v, v.ndim() > 1 && !bias, 1};
    bool found = false;
    for (std::size_t s = 0; s < scales.size(); ++s) {
      if (fnmatch(scales[s].pattern.c_str(), v.name().c_str(), 0) != 0) continue;
      used[s] = true;
      if (!found) item.lr_scale = scales[s].scale;
      found = true;
    }
    items.push_back(item);
  }
  for (std::size_t s = 0; s < scales.size(); ++s)
    if (!used[s]) fail_usage("optim", "the pattern '{}' matches no trained parameter", scales[s].pattern);
  return items;
}

}  // namespace spn::optim
