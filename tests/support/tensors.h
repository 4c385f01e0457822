// Random tensors from Philox, element-wise comparison, and the numeric gradient check.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/var.h"
#include "tests/support/tolerance.h"

namespace spn::test {

// Uniform in [low, high), the same on every rank for the same stream.
Tensor random(const Shape& shape, std::uint64_t stream, DType dtype = DType::f64, double low = -1, double high = 1);
// A view with gaps and permuted strides of the same values as t: what kernels must cope with.
Tensor strided_copy(const Tensor& t);

// Element-wise, reports the worst element with its index. Use as EXPECT_TRUE(close(got, want, tolerance(...))), which
// prints the message.
struct Compared {
  bool ok;
  std::string message;
  explicit operator bool() const { return ok; }
  operator testing::AssertionResult() const {  // NOLINT: EXPECT_TRUE takes it
    return ok ? testing::AssertionSuccess() : testing::AssertionFailure() << message;
  }
};
std::ostream& operator<<(std::ostream& os, const Compared& c);
Compared close(const Tensor& got, const Tensor& want, const Tolerance& tol);

// f maps leaves to one var. Checks every element of every input's gradient of Σ r · f(inputs), r fixed random weights,
// against central differences in double: |numeric − analytic| ≤ tol · (1 + |numeric|). Inputs must be f64.
Compared gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                   double step = 1e-5, double tol = 1e-6);

}  // namespace spn::test
