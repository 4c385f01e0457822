// How the ladders of AdamW cut their flat arrays into parameters: as the full model's trained part, 323 of them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace spn::kernels {

// Elements of a parameter and how many have that many: configs/model/st_align.cfg without its frozen ViT, 112,916,648
// in all. Half of the parameters hold 1 / 4,000 of the elements.
struct SizeCount {
  std::int64_t elements;
  int count;
};
inline constexpr SizeCount kModelSizes[] = {
    {8, 5},      {16, 1},      {64, 18},     {128, 16},    {256, 37},    {512, 49},    {548, 36},    {1024, 27},
    {1728, 1},   {2048, 14},   {4096, 1},    {4384, 1},    {16384, 10},  {32768, 5},   {36864, 3},   {65536, 7},
    {131072, 3}, {140288, 1},  {147456, 4},  {262144, 27}, {280576, 6},  {524288, 3},  {561152, 12}, {589824, 6},
    {841728, 6}, {1048576, 6}, {2097152, 7}, {2244608, 1}, {2359296, 3}, {4489216, 1}, {8388608, 6}};
inline constexpr std::int64_t kModelParameters = 112916648;

// f(begin, end) for each parameter of n elements in all, with the model's proportions, large and small ones in turn. On
// multiples of 8: 16 bytes of the bf16 copy.
template <class F>
void over_parameters(std::int64_t n, F&& f) {
  std::int64_t at = 0;
  for (int round = 0; at < n; ++round)
    for (const SizeCount& s : kModelSizes) {
      if (round >= s.count || at >= n) continue;
      const double part = static_cast<double>(s.elements) * static_cast<double>(n) / kModelParameters;
      const std::int64_t end =
          std::min(n, at + std::max<std::int64_t>(8, (static_cast<std::int64_t>(part) + 7) / 8 * 8));
      f(at, end);
      at = end;
    }
}

}  // namespace spn::kernels
