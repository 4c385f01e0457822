// Which elements dropout keeps: a function of seed, step, layer, global sample and element alone, for host and device.
#pragma once

#include <cstdint>

#include "engine/core/philox.h"
#include "kernels/args/dropout.h"

namespace spn::kernels {

// uniform01(bits) >= p, as integers: (bits >> 8) >= dropout_threshold(p).
inline std::uint32_t dropout_threshold(double p) {
  const double t = p * 16777216.0;
  const auto floor = static_cast<std::uint32_t>(t);
  return floor + (static_cast<double>(floor) < t ? 1U : 0U);
}

// A key (DropoutKey, ImageAugment) and its clock together.
template <class Key>
SPN_HD std::int64_t step_of(const Key& key) {
  return key.step + (key.clock != nullptr ? key.clock->step : 0);
}
template <class Key>
SPN_HD std::int64_t sample_of(const Key& key, std::int64_t row) {
  return key.first_sample + row + (key.clock != nullptr ? key.clock->first_sample : 0);
}

SPN_HD inline std::uint32_t dropout_step_word(std::int64_t step) {
  return static_cast<std::uint32_t>(step) * 16U + static_cast<std::uint32_t>(RandomUse::dropout);
}

// The word of element e of a sample.
SPN_HD inline std::uint32_t dropout_bits(std::uint64_t seed, std::int64_t step, std::uint32_t layer,
                                         std::int64_t sample, std::int64_t e) {
  const Philox4 r = philox(seed, static_cast<std::uint32_t>(e / 4), static_cast<std::uint32_t>(sample), layer,
                           dropout_step_word(step));
  return r.v[e % 4];
}

}  // namespace spn::kernels
