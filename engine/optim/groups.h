// Which parameters decay, and how fast each learns.
#pragma once

#include <string>
#include <vector>

#include "engine/autograd/var.h"

namespace spn::optim {

// One trained parameter with its rules.
struct Item {
  Var var;
  bool decay = true;
  double lr_scale = 1;
};

struct LrScale {
  std::string pattern;  // shell pattern over full names, * crosses dots: "niche_image.backbone.*"
  double scale = 1;
};

// Parameters of at most one dim (biases, norms, layer scales, temperatures) and those named *.bias do not decay. The
// first matching pattern gives lr_scale. Usage error when a pattern matches nothing (a misspelt option).
std::vector<Item> make_items(const std::vector<Var>& trainable, const std::vector<LrScale>& scales = {});

}  // namespace spn::optim
