#include "engine/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "engine/tensor/tensor.h"
#include "kernels/table.h"

namespace spn::optim {

double global_norm(std::span<const View> grads) {
  if (grads.empty()) return 0;
  const Tensor sum = Tensor::empty({1}, DType::f64, grads[0].device);
  kernels::run<&kernels::Table::sum_of_squares>({.x = grads, .out = sum});
  return std::sqrt(*sum.to(Device{}).data<double>());
}

double clip_scale(double norm, double max_norm) { return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0; }

}  // namespace spn::optim
