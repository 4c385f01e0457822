// Every op that is a function of floating tensors, one row a case. Each row is checked four ways (ops_test.cpp):
// numeric gradients in f64, strided inputs, f32 and bf16 against f64. A new op adds its rows here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/var.h"

namespace spn::test {

using Vars = std::vector<Var>;

struct OpCase {
  std::string name;  // unique; letters, digits, _
  std::vector<Shape> inputs;
  std::function<Var(const Vars&)> f;
  double low = -1, high = 1;   // inputs are uniform in between
  std::int64_t reduction = 1;  // terms summed on the way to an output or a gradient
  bool kink = false;           // not differentiable everywhere: bf16 may fall on the other side, only forward there
  double f64_step = 1e-5;      // of the numeric derivative
};

const std::vector<OpCase>& op_list();

}  // namespace spn::test
