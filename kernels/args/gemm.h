// Matrix products with an optional bias and activation.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

enum class Activation : std::uint8_t { none, relu, gelu };

// c[…,m,n] = act(a[…,m,k] · b[…,k,n] + bias[n]) + (accumulate ? c : 0). Leading dims are a batch, equal or extent 1.
// a and b have one dtype, c the same or, for bf16, f32; bias c's, or f32 beside bf16. Sums are f32 or better.
// Transposition is a matter of strides; c has unit stride in n. act only without accumulate.
// sums [m] in c's dtype, where it is given: Σ_k a[m,k]; beside c [m,n] alone. A layer's bias gradient comes so
// beside the product that gives its weights'.
struct Gemm {
  View a, b, c, bias;
  Activation act = Activation::none;
  bool accumulate = false;
  View sums;
  auto views() const { return std::array{&a, &b, &c, &bias, &sums}; }
};

}  // namespace spn::kernels
