// Rows by index and their sums by index. An index outside its rows cannot be refused here, nobody having read it before
// the kernel runs: what would come of it is NaN (all bits set in other dtypes).
#pragma once

#include <limits>

#include "kernels/cuda/device/base.h"
#include "kernels/cuda/device/strided.h"

namespace spn::kernels::cuda {

// Rows of `length` units.
template <class Unit>
__global__ void gather_units(const Unit* x, const std::int64_t* index, Unit* y, std::int64_t count, std::int64_t length,
                             std::int64_t rows) {
  for (std::int64_t g = global_thread(); g < count * length; g += all_threads()) {
    std::int64_t row = g;
    const std::int64_t u = split(row, length), from = index[row];
    if (from >= 0 && from < rows) {
      y[g] = x[from * length + u];
    } else {
      auto* bytes = reinterpret_cast<unsigned char*>(y + g);
      for (std::size_t b = 0; b < sizeof(Unit); ++b) bytes[b] = 0xff;
    }
  }
}

// A block has a row of y, or kColumns columns of it: it looks through the whole index for those that name its row, in
// order, and adds their rows of x in that order. No row is added by two threads: the sums are those of the CPU.
inline constexpr int kScatterThreads = 256, kScatterEach = 4, kScatterColumns = kScatterThreads * kScatterEach;
template <class T>
__global__ void scatter_add(const T* x, const std::int64_t* index, T* y, std::int64_t count, std::int64_t length,
                            std::int64_t rows) {
  using C = compute_t<T>;
  constexpr int kWarps = kScatterThreads / kWarp;
  SPN_SHARED(std::int64_t, found, kScatterThreads);
  SPN_SHARED(int, of_warp, kWarps);
  SPN_SHARED(int, wrong, kWarps);
  const int me = static_cast<int>(threadIdx.x), lane = me % kWarp, warp = me / kWarp;
  const std::int64_t pieces = (length + kScatterColumns - 1) / kScatterColumns;
  for (std::int64_t item = blockIdx.x; item < rows * pieces; item += gridDim.x) {
    std::int64_t row = item;
    const std::int64_t first = split(row, pieces) * kScatterColumns + me;
    C sum[kScatterEach] = {};
    bool bad = false;
    for (std::int64_t tile = 0; tile < count; tile += kScatterThreads) {
      const std::int64_t at = tile + me, to = at < count ? index[at] : row + 1;
      const bool mine = at < count && to == row;
      bad = bad || (at < count && (to < 0 || to >= rows));
      const unsigned votes = __ballot_sync(kAllLanes, mine);
      if (lane == 0) of_warp[warp] = __popc(votes);
      __syncthreads();
      int before = 0, all = 0;
      for (int w = 0; w < kWarps; ++w) {
        if (w < warp) before += of_warp[w];
        all += of_warp[w];
      }
      if (mine) found[before + __popc(votes & ((1U << lane) - 1U))] = at;
      __syncthreads();
      for (int k = 0; k < all; ++k) {
        const T* p = x + found[k] * length;
#pragma unroll
        for (int j = 0; j < kScatterEach; ++j) {
          const std::int64_t c = first + j * kScatterThreads;
          if (c < length) sum[j] += load(p[c]);
        }
      }
    }
    const bool bad_warp = __any_sync(kAllLanes, bad);
    if (lane == 0) wrong[warp] = bad_warp ? 1 : 0;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) bad = bad || wrong[w] != 0;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kScatterEach; ++j) {
      const std::int64_t c = first + j * kScatterThreads;
      if (c < length) y[row * length + c] = convert<T>(bad ? std::numeric_limits<C>::quiet_NaN() : sum[j]);
    }
  }
}

}  // namespace spn::kernels::cuda
