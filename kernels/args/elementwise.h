// Elementwise kernels: unary maps, broadcasting binary maps, affine maps, copies between dtypes and strides.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

enum class UnaryOp : std::uint8_t { neg, exp, log, sqrt, square, relu, gelu, tanh, sigmoid };
enum class BinaryOp : std::uint8_t { add, sub, mul, div, max, min };

// y = f(x). Any strides, equal shapes, one floating dtype.
struct UnaryFwd {
  UnaryOp op{};
  View x, y;
  auto views() const { return std::array{&x, &y}; }
};

// dx = f'(x) · dy, from x and y = f(x).
struct UnaryBwd {
  UnaryOp op{};
  View x, y, dy, dx;
  auto views() const { return std::array{&x, &y, &dy, &dx}; }
};

// y = a ∘ b, where a and b have y's shape (broadcast: stride 0). y may be a.
struct Binary {
  BinaryOp op{};
  View a, b, y;
  auto views() const { return std::array{&a, &b, &y}; }
};

// y = mul · x + add. y may be x.
struct Affine {
  double mul = 1, add = 0;
  View x, y;
  auto views() const { return std::array{&x, &y}; }
};

// y = x, converting dtype (any to any) and layout; y = value where x is absent.
struct Copy {
  double value = 0;
  View x, y;
  auto views() const { return std::array{&x, &y}; }
};

}  // namespace spn::kernels
