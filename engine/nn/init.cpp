#include "engine/nn/init.h"

#include <algorithm>
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

namespace {

// Values [begin, end) of a stream at its value `begin`.
void draw(const Init& init, PhiloxStream rng, float* v, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    double x = init.a;
    switch (init.kind) {
      case Init::Kind::constant: break;
      case Init::Kind::uniform: x = init.a * (2 * rng.uniform_double() - 1); break;
      case Init::Kind::normal: x = init.a * rng.normal(); break;
      case Init::Kind::trunc_normal: do { x = init.a * rng.normal();
        } while (std::abs(x) > 2);
        break;
    }
    v[i] = static_cast<float>(x);
  }
}

// Values that 128 bits of the stream give; 0: how many a value takes depends on what is drawn.
std::int64_t values_a_block(const Init& init) {
  switch (init.kind) {
    case Init::Kind::uniform: return 2;
    case Init::Kind::normal: return 1;
    // of a small deviation nothing is ever cut: no normal is further out than 8.6
    case Init::Kind::trunc_normal: return std::abs(init.a) * 8.6 <= 2 ? 1 : 0;
    default: return 0;
  }
}

}  // namespace

Tensor initial_value(const Init& init, const Shape& shape, std::uint64_t seed, std::string_view name) {
  const PhiloxStream start(seed, RandomUse::init, name_hash(name));
  const Tensor t = Tensor::empty(shape);
  auto* v = t.data<float>();
  const std::int64_t n = t.numel(), per_block = values_a_block(init);
  if (per_block == 0) {
    draw(init, start, v, 0, n);
    return t;
  }
  // A normal takes 50 ns, and a ViT has 300 million: threads draw parts of the one sequence.
  constexpr std::int64_t kPart = 16384;
#pragma omp parallel for schedule(static) if (n > kPart)
  for (std::int64_t begin = 0; begin < n; begin += kPart) {
    PhiloxStream rng = start;
    rng.skip_blocks(static_cast<std::uint32_t>(begin / per_block));
    draw(init, rng, v, begin, std::min(n, begin + kPart));
  }
  return t;
}

}  // namespace spn::nn
