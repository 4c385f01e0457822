// Which of device/rows.h's layouts suits rows of a length, and how many blocks. Host only.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <limits>

#include "engine/core/view.h"
#include "kernels/cuda/device/rows.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {

inline constexpr int kRowBlock = 128;  // threads of a block whose warps have a row each

// Packs a thread holds: 8 or 32 values of bf16 and f32.
template <class T>
inline constexpr int kFewPacks = std::is_same_v<T, double> ? 4 : 8 / Pack<T>::n;
template <class T>
inline constexpr int kManyPacks = std::is_same_v<T, double> ? 4 : 32 / Pack<T>::n;

// Absent views are fit for anything.
inline bool packable(std::int64_t n, int pack, std::initializer_list<const View*> views) {
  bool yes = n % pack == 0;
  for (const View* v : views) yes = yes && reinterpret_cast<std::uintptr_t>(v->data) % 16 == 0;
  return yes;
}

// f.operator()<Layout>(threads of a block, rows that a block has at a time). views: what is accessed in packs. halves:
// rows of bf16 whose length is a multiple of 4 alone have a layout too (548 genes of the full model's niche encoder).
template <class T, bool halves = false, class F>
void visit_rows(const char* where, std::int64_t n, std::initializer_list<const View*> views, F&& f) {
  check(n <= std::numeric_limits<int>::max() / 2, where, "expected rows of less than 2^30 elements, got {}", n);
  constexpr std::int64_t few = kFewPacks<T>, many = kManyPacks<T>, pack = Pack<T>::n;
  const bool packs = packable(n, Pack<T>::n, views);
  if (packs && n <= kWarp * few * pack)
    return f.template operator()<Registers<WarpGroup, few>>(kRowBlock, kRowBlock / kWarp);
  if (packs && n <= kWarp * many * pack)
    return f.template operator()<Registers<WarpGroup, many>>(kRowBlock, kRowBlock / kWarp);
  if (packs && n <= kBlock * many * pack) {
    const std::int64_t warps = (n + kWarp * many * pack - 1) / (kWarp * many * pack);
    return f.template operator()<Registers<BlockGroup, many>>(static_cast<int>(warps) * kWarp, 1);
  }
  if constexpr (halves && sizeof(T) == 2)
    if (packable(n, 4, views) && n <= kWarp * 2 * many * 4)
      return f.template operator()<Registers<WarpGroup, 2 * many, 8>>(kRowBlock, kRowBlock / kWarp);
  f.template operator()<Streamed<BlockGroup>>(n <= 512 ? kWarp : n <= 4096 ? kRowBlock : kBlock, 1);
}

inline dim3 blocks_of_rows(std::int64_t rows, int per_block, int waves = 16) {
  return grid_for(rows, per_block, waves);
}

}  // namespace spn::kernels::cuda
