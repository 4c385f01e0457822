#include "engine/core/philox.h"

#include <cmath>
#include <numbers>

namespace spn {

double PhiloxStream::normal() {
  const double u = 1.0 - uniform_double();  // (0, 1]: the logarithm stays finite
  const double v = uniform_double();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

std::uint64_t PhiloxStream::below(std::uint64_t n) {
  __extension__ using u128 = unsigned __int128;
  u128 m = static_cast<u128>(next_u64()) * n;
  if (static_cast<std::uint64_t>(m) < n) {
    const std::uint64_t floor = -n % n;
    while (static_cast<std::uint64_t>(m) < floor) m = static_cast<u128>(next_u64()) * n;
  }
  return static_cast<std::uint64_t>(m >> 64);
}

}  // namespace spn
