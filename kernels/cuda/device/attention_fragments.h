// Attention of bf16 on tensor cores, without weights in memory (Dao 2023, arXiv 2307.08691): a warp owns 16 queries,
// whose logits, weights and result stay in its registers; the keys and values of their head stream past all warps of
// the block through shared memory, the next tile while one is at work.
#pragma once

#include <limits>

#include "kernels/cuda/device/attention.h"
#include "kernels/cuda/device/fragments.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cuda {

inline constexpr int kFragmentRows = 16;   // queries a warp
inline constexpr int kFragmentKeys = 64;   // keys a tile
inline constexpr int kFragmentWarps = 8;   // at most, a block
inline constexpr int kFragmentStages = 2;  // tiles in shared memory: at work, and coming

// A row of shared memory: 16 bytes more than the width, so that the rows of a tile lie in other banks.
template <int width>
inline constexpr int kFragmentRow = width + 8;
// Bytes of shared memory: keys and values of each stage.
template <int width>
inline constexpr std::size_t kFragmentShared = sizeof(bf16) * kFragmentStages * 2 * kFragmentKeys* kFragmentRow<width>;

// Two values of a row in one register; zeros beyond the rows.
__device__ inline unsigned load_pair(const bf16* row, int column, bool there) {
  return there ? *reinterpret_cast<const unsigned*>(row + column) : 0U;
}

__device__ inline float larger(float a, float b) { return fmaxf(a, b); }  // of a NaN and a number: the number

// Begins the copy of keys j0 … j0 + 63 of one side, zeros beyond the last: a weight of 0 times what lies there is 0.
template <int width>
__device__ inline void begin_tile(SharedPlace to, const bf16* from, std::int64_t stride, int j0, int tk) {
  constexpr unsigned kPacks = width / 8;
  for (unsigned i = threadIdx.x; i < kFragmentKeys * kPacks; i += blockDim.x) {
    const int r = static_cast<int>(i / kPacks), c = static_cast<int>(i % kPacks * 8);
    const bool there = j0 + r < tk;
    copy_async(to + (r * kFragmentRow<width> + c), from + (there ? (j0 + r) * stride : 0) + c, there);
  }
}

// Blocks: samples · heads · the tiles of kFragmentRows · warps queries of a head. Heads of exactly `width`, a multiple
// of 16, whose rows are whole packs (AttentionSizes::packs); scale > 0; no dropout.
template <int width>
__global__ void __launch_bounds__(kFragmentWarps* kWarp, 2) attention_fragments(AttentionForward<bf16> a) {
  constexpr int kDepths = width / 16, kKeyTiles = kFragmentKeys / 8, kColumnTiles = width / 8,
                kRow = kFragmentRow<width>;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  constexpr int kSide = kFragmentKeys * kRow, kStage = 2 * kSide;  // elements of shared memory
  SPN_DYNAMIC_SHARED(bf16, shared);
  const SharedPlace place = place_of(shared);

  const AttentionSizes& z = a.z;
  const int queries = static_cast<int>(z.tq), keys = static_cast<int>(z.tk);
  const unsigned rows = blockDim.x / kWarp * kFragmentRows;
  const unsigned blocks = (static_cast<unsigned>(queries) + rows - 1) / rows, item = blockIdx.x / blocks;
  const unsigned b = item / static_cast<unsigned>(z.heads), h = item % static_cast<unsigned>(z.heads);
  const int i0 = static_cast<int>(blockIdx.x % blocks * rows + threadIdx.x / kWarp * kFragmentRows);
  const bf16 *k = a.k.of(b, h), *v = a.v.of(b, h);

  const int tiles = (keys + kFragmentKeys - 1) / kFragmentKeys;
  const auto begin = [&](int tile) {
    const SharedPlace stage = place + tile % kFragmentStages * kStage;
    begin_tile<width>(stage, k, a.k.row, tile * kFragmentKeys, keys);
    begin_tile<width>(stage + kSide, v, a.v.row, tile * kFragmentKeys, keys);
    copies_commit();
  };
  begin(0);

  // a lane's two rows: upper and lower half of the fragments
  const int upper = i0 + fragment_row(0), lower = i0 + fragment_row(2);
  FragmentA q[kDepths];
  {
    const bf16* const from = a.q.of(b, h);
    const bf16 *top = from + upper * a.q.row, *bottom = from + lower * a.q.row;
    for (int d = 0; d < kDepths; ++d)
      for (int half = 0; half < 2; ++half) {
        const int c = d * 16 + half * 8 + fragment_column(0);
        q[d].r[2 * half] = load_pair(top, c, upper < queries);
        q[d].r[2 * half + 1] = load_pair(bottom, c, lower < queries);
      }
  }
  FragmentC o[kColumnTiles] = {};
  float most[2] = {kNone, kNone}, sum[2] = {0, 0};  // of the rows' q·k so far; sum: of weights, this lane's part
  const float scale = a.scale * static_cast<float>(kLog2e);  // of powers of two

  const SharedPlace key_place = place_in_columns(shared, kRow), value_place = place_in_rows(shared, kRow) + kSide;
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % kFragmentStages * kStage;
    if (tile + 1 < tiles) {
      begin(tile + 1);
      copies_wait<1>();
    } else {
      copies_wait<0>();
    }
    __syncthreads();

    FragmentC s[kKeyTiles] = {};
#pragma unroll
    for (int d = 0; d < kDepths; ++d)
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        FragmentB key[2];
        load_b_of_columns(key_place + stage + (n * 8 * kRow + d * 16), key);
        multiply_add(s[n], q[d], key[0]);
        multiply_add(s[n + 1], q[d], key[1]);
      }

    const int left = keys - tile * kFragmentKeys;
    if (left < kFragmentKeys)  // the last tile
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (n * 8 + fragment_column(i) >= left) s[n].v[i] = kNone;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = most[half];
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) top = larger(top, larger(s[n].v[2 * half], s[n].v[2 * half + 1]));
      top = larger(top, __shfl_xor_sync(kAllLanes, top, 1));  // of the four lanes that share the row
      top = larger(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float fade = brief_exp2((most[half] - top) * scale), shift = top * scale;
      most[half] = top;
      sum[half] *= fade;
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        o[n].v[2 * half] *= fade;
        o[n].v[2 * half + 1] *= fade;
      }
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          float& weight = s[n].v[i];
          weight = brief_exp2(weight * scale - shift);  // of a NaN, which larger() has left out: NaN
          sum[half] += weight;
        }
    }
#pragma unroll
    for (int d = 0; d < kKeyTiles / 2; ++d) {
      const FragmentA weights = as_left(s[2 * d], s[2 * d + 1]);
#pragma unroll
      for (int n = 0; n < kColumnTiles; n += 2) {
        FragmentB value[2];
        load_b_of_rows(value_place + stage + (d * 16 * kRow + n * 8), value);
        multiply_add(o[n], weights, value[0]);
        multiply_add(o[n + 1], weights, value[1]);
      }
    }
    __syncthreads();  // the next copies go where these keys lie
  }

  bf16* const to = a.o.of(b, h);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = half == 0 ? upper : lower;
    float total = sum[half];
    total += __shfl_xor_sync(kAllLanes, total, 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    const float inverse = 1.0F / total;
    if (row >= queries) continue;
    if (fragment_column(0) == 0) a.lse[item * z.tq + row] = most[half] * a.scale + std::log(total);
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
      *reinterpret_cast<unsigned*>(to + row * a.o.row + n * 8 + fragment_column(0)) =
          pack_pair(o[n].v[2 * half] * inverse, o[n].v[2 * half + 1] * inverse);
  }
}

}  // namespace spn::kernels::cuda
