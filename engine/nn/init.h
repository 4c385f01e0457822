// Initial values: PyTorch's and timm's defaults, drawn from Philox by (seed, name of the parameter): a parameter's
// start depends neither on the order of construction nor on the other parts.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/tensor/tensor.h"

namespace spn::nn {

struct Init {
  enum class Kind : std::uint8_t { constant, uniform, normal, trunc_normal };
  Kind kind = Kind::constant;
  double a = 0;  // the constant, the bound of U(-a, a), or the standard deviation

  static Init constant(double v) { return {Kind::constant, v}; }
  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what kaiming_uniform(a = sqrt 5) comes to, and PyTorch's default bias.
  static Init fan_in(std::int64_t fan_in);
  static Init normal(double std) { return {Kind::normal, std}; }
  // Normal cut at ±2 (absolute, as timm's trunc_normal_ with its defaults).
  static Init trunc_normal(double std) { return {Kind::trunc_normal, std}; }
};

// Host tensor of the shape, fp32; the same bits whatever the number of threads that draw.
Tensor initial_value(const Init& init, const Shape& shape, std::uint64_t seed, std::string_view name);

// 64-bit FNV-1a: a stable number for a name.
std::uint64_t name_hash(std::string_view name);

}  // namespace spn::nn
