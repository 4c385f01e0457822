// How the ladder of AdamW cuts its flat arrays into parameters: many small ones between few large ones, as a model's.
#pragma once

#include <algorithm>
#include <cstdint>

namespace spn::kernels {

inline constexpr std::int64_t kAdamWTensors = 64;

// f(begin, end) for each parameter of n elements in all: 3 of 4 have 1/1024 of a large one's. On multiples of 4.
template <class F>
void over_parameters(std::int64_t n, F&& f) {
  const std::int64_t large = std::max<std::int64_t>(4, n / (kAdamWTensors / 4) / 4 * 4);
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < kAdamWTensors && at < n; ++i) {
    const std::int64_t size = i % 4 == 3 ? large : std::max<std::int64_t>(4, large / 1024 / 4 * 4);
    const std::int64_t end = i + 1 == kAdamWTensors ? n : std::min(n, at + size);
    f(at, end);
    at = end;
  }
}

}  // namespace spn::kernels
