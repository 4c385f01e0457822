#include "engine/nn/init.h"

#include <cmath>

#include "engine/core/philox.h"

namespace spn::nn {

std::uint64_t name_hash(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

Init Init::fan_in(std::int64_t fan_in) {
  check(fan_in > 0, "init", "expected a positive fan-in, got {}", fan_in);
  return {Kind::uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
}

Tensor initial_value(const Init& init, const Shape& shape, std::uint64_t seed, std::string_view name) {
  PhiloxStream rng(seed, RandomUse::init, name_hash(name));
  std::vector<float> v(static_cast<std::size_t>(shape.numel()));
  for (float& e : v) {
    double x = init.a;
    switch (init.kind) {
      case Init::Kind::constant: break;
      case Init::Kind::uniform: x = init.a * (2 * rng.uniform_double() - 1); break;
      case Init::Kind::normal: x = init.a * rng.normal(); break;
      case Init::Kind::trunc_normal: do { x = init.a * rng.normal();
        } while (std::abs(x) > 2);
        break;
    }
    e = static_cast<float>(x);
  }
  return Tensor::from(v, shape);
}

}  // namespace spn::nn
