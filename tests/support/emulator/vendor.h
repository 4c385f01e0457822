// Libraries of vendors that know no way: what a test wants refused.
#pragma once

#include <functional>

#include "kernels/cuda/lib/convolution.h"
#include "kernels/cuda/lib/product.h"

namespace spn::emulator {

// While one lives, products and passes of convolutions for which a function says true are refused; how many were.
class Refusals {
 public:
  using OfProduct = std::function<bool(const kernels::cuda::Product&)>;
  using OfPass = std::function<bool(const kernels::cuda::Convolution&, kernels::cuda::Pass, kernels::cuda::Order)>;
  // when_called: the library promises a way, and refuses when it is called.
  explicit Refusals(OfProduct product, OfPass pass = {}, bool when_called = false);
  ~Refusals();
  Refusals(const Refusals&) = delete;
  Refusals& operator=(const Refusals&) = delete;

  OfProduct product;
  OfPass pass;
  bool when_called;
  int count = 0;
};

}  // namespace spn::emulator
