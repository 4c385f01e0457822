// How threads walk a contiguous [rows, channels] tensor whose channels have coefficients or sums of their own: a thread
// keeps to its pack of channels and goes down the rows, so that what belongs to a channel stays in registers. A block
// takes `across` packs side by side and `down` rows at once; where it takes whole rows, its warps read runs.
#pragma once

#include "kernels/cuda/device/rows.h"

namespace spn::kernels::cuda {

inline constexpr int kColumnThreads = 256, kMostAcross = 64;

struct Columns {
  std::int64_t rows, channels;
  int across, down;
};

// This thread's place; V channels a pack.
template <int V>
struct ColumnPlace {
  std::int64_t rows, channels, first_row, step;  // rows first_row, first_row + step, …
  std::int64_t block_channel;                    // the first channel of the block
  int lane;                                      // pack in the block
  bool active;
  __device__ explicit ColumnPlace(const Columns& w) : rows(w.rows), channels(w.channels) {
    const int t = static_cast<int>(threadIdx.x), down = t / w.across;
    lane = t % w.across;
    block_channel = static_cast<std::int64_t>(blockIdx.y) * w.across * V;
    active = down < w.down && channel() < channels;
    first_row = static_cast<std::int64_t>(blockIdx.x) * w.down + down;
    step = static_cast<std::int64_t>(gridDim.x) * w.down;
  }
  __device__ std::int64_t channel() const { return block_channel + lane * V; }
  __device__ std::int64_t offset(std::int64_t row) const { return row * channels + channel(); }
  // Of the row that many before the last. Who reads what the kernel before has just written begins where that ended:
  // the L2 cache still holds it. Who comes next finds the first rows there.
  __device__ std::int64_t offset_from_end(std::int64_t row) const { return offset(rows - 1 - row); }
};

// Sums of V channels' two quantities over the rows of a block, into partial [blocks, 2, channels]. All threads call it.
template <int V>
__device__ inline void store_block_sums(const Columns& w, const ColumnPlace<V>& at, const double (&s)[V],
                                        const double (&q)[V], double* partial) {
  SPN_SHARED(double, part, kColumnThreads* V);
  const int t = static_cast<int>(threadIdx.x);
  for (int which = 0; which < 2; ++which) {
    for (int k = 0; k < V; ++k) part[k * kColumnThreads + t] = which == 0 ? s[k] : q[k];
    __syncthreads();
    for (int o = t; o < w.across * V; o += kColumnThreads) {
      const int k = o / w.across, lane = o % w.across;
      const std::int64_t channel = at.block_channel + lane * V + k;
      if (channel >= w.channels) continue;
      double sum = 0;
      for (int d = 0; d < w.down; ++d) sum += part[k * kColumnThreads + d * w.across + lane];
      partial[(static_cast<std::int64_t>(blockIdx.x) * 2 + which) * w.channels + channel] = sum;
    }
    __syncthreads();
  }
}

}  // namespace spn::kernels::cuda
