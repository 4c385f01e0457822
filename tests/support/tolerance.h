// The one table of tolerances (docs/numerics.md): by dtype and by how many products are summed.
#pragma once

#include <cmath>

#include "engine/core/dtype.h"

namespace spn::test {

struct Tolerance {
  double relative, absolute;
};

// A sum of n terms in fp32 has a random-walk error of about eps · sqrt(n), with a factor for what follows it.
inline Tolerance tolerance(DType t, std::int64_t reduction = 1) {
  const double n = std::sqrt(static_cast<double>(reduction < 1 ? 1 : reduction));
  switch (t) {
    case DType::f64: return {1e-12 * n, 1e-13 * n};
    case DType::f32: return {2e-6 * n, 2e-7 * n};
    case DType::bf16: return {1.6e-2 * (n < 4 ? n : 4), 8e-3};
    default: return {0, 0};
  }
}

// NaN never passes.
inline bool near(double got, double want, const Tolerance& tol) {
  return std::abs(got - want) <= tol.absolute + tol.relative * std::abs(want);
}

}  // namespace spn::test
