// Attention of at most 8 queries and 8 keys in bf16, of whole packs up to width 64, on tensor cores: this model's own.
// A warp a head. Which column of a head a fragment calls its first is free as long as both factors agree, so a lane
// takes and gives chunks of 16 bytes, and no fragment is put together from less.
//
// With r = lane / 4 and c = lane % 4, a lane takes chunks c and c + 4 of row r for products over columns, and chunk r
// of rows 2c and 2c + 1 for products over rows. Of the 8x8 weights between them it has row r, columns 2c and 2c + 1.
#pragma once

#include "kernels/cuda/device/attention.h"
#include "kernels/cuda/device/attention_fragments.h"
#include "kernels/cuda/device/attention_short.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cuda {

inline constexpr int kShortFragmentWarps = 8;                // a block
inline constexpr int kShortHead = kShortRows * kShortWidth;  // elements of a head's rows in shared memory

// A lane's r and c.
__device__ inline int short_row() { return static_cast<int>(threadIdx.x % kWarp / 4); }
__device__ inline int short_column() { return static_cast<int>(threadIdx.x % 4); }

// Columns 2i and 2i + 1 in w[i].
struct alignas(16) Chunk {
  unsigned w[4];
};
// Where a chunk lies in shared memory: those that eight lanes take or put at once are in different banks.
__device__ inline int place_of_chunk(int row, int chunk) { return 8 * (8 * row + (chunk ^ (row & 6) ^ 4 * (row & 1))); }

// Begins the copy of a head, zeros beyond its rows and its width.
__device__ inline void copy_head(bf16* shared, const Heads<const bf16>& x, unsigned b, unsigned h, int rows,
                                 int width) {
  const int row = static_cast<int>(threadIdx.x % kWarp / 8), chunk = static_cast<int>(threadIdx.x % 8);
  const bf16* const from = x.of(b, h) + row * x.row + 8 * chunk;
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const bool there = row + i < rows && 8 * chunk < width;
    copy_async(place_of(shared) + place_of_chunk(row + i, chunk), there ? from + i * x.row : x.p, there);
  }
}
// The warp's copies have come, for all its lanes.
__device__ inline void await_heads() {
  copies_commit();
  copies_wait<0>();
  __syncwarp();
}
__device__ inline void take_row(const bf16* shared, Chunk (&own)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i)
    own[i] = *reinterpret_cast<const Chunk*>(shared + place_of_chunk(short_row(), short_column() + 4 * i));
}
__device__ inline void take_two_rows(const bf16* shared, Chunk (&two)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i)
    two[i] = *reinterpret_cast<const Chunk*>(shared + place_of_chunk(2 * short_column() + i, short_row()));
}
// To the head in memory.
__device__ inline void put_two_rows(const Chunk (&two)[2], const Heads<bf16>& x, unsigned b, unsigned h, int rows,
                                    int width) {
  const int row = 2 * short_column(), column = 8 * short_row();
  bf16* const to = x.of(b, h) + row * x.row + column;
  if (row < rows && column < width) store_whole(to, two[0]);
  if (row + 1 < rows && column < width) store_whole(to + x.row, two[1]);
}

// Dot products of the rows of a with those of b. A fragment has 16 rows and a head 8: words 0 and 2 of a chunk are its
// upper half, 1 and 3 the lower one, and each half is multiplied with the same words of b.
__device__ inline void short_products(const bf16* rows_a, const bf16* rows_b, float (&out)[2]) {
  Chunk a[2], b[2];
  take_row(rows_a, a);
  take_row(rows_b, b);
  FragmentC upper = {}, lower = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const FragmentA left{{a[i].w[0], a[i].w[1], a[i].w[2], a[i].w[3]}};
    multiply_add(upper, left, {{b[i].w[0], b[i].w[2]}});
    multiply_add(lower, left, {{b[i].w[1], b[i].w[3]}});
  }
  out[0] = upper.v[0] + lower.v[2];
  out[1] = upper.v[1] + lower.v[3];
}

// A lane's two weights as bf16, and what rounding left of them: together 16 bits of mantissa.
struct ShortWeights {
  unsigned rounded, rest;
};
__device__ inline ShortWeights as_weights(const float (&w)[2]) {
  const unsigned r = pack_pair(w[0], w[1]);
  bf16 low, high;
  low.bits = static_cast<std::uint16_t>(r);
  high.bits = static_cast<std::uint16_t>(r >> 16);
  return {r, pack_pair(w[0] - load(low), w[1] - load(high))};
}

// The low halves of two registers in one, and the high ones.
__device__ inline unsigned lows(unsigned a, unsigned b) { return (a & 0xffffU) | b << 16; }
__device__ inline unsigned highs(unsigned a, unsigned b) { return a >> 16 | (b & 0xffff0000U); }

// out = weights · rows. The product's transpose is computed, columns of the head as rows of a fragment: so the result
// has the layout of `rows`. A fragment is 16 deep and a head 8 rows: the other 8 take what rounding left.
__device__ inline void short_weighted_rows(const ShortWeights& weights, const bf16* shared, Chunk (&out)[2]) {
  Chunk rows[2];
  take_two_rows(shared, rows);
  const FragmentB right{{weights.rounded, weights.rest}};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned even = lows(rows[0].w[i], rows[1].w[i]), odd = highs(rows[0].w[i], rows[1].w[i]);
    FragmentC sum = {};
    multiply_add(sum, {{even, odd, even, odd}}, right);
    out[0].w[i] = pack_pair(sum.v[0], sum.v[2]);
    out[1].w[i] = pack_pair(sum.v[1], sum.v[3]);
  }
}

// Row 2c, column r and row 2c + 1, column r of a matrix of which the lane has row r, columns 2c and 2c + 1.
__device__ inline unsigned transposed(unsigned pair) {
  const int r = short_row(), from = 8 * short_column() + r / 2;
  const unsigned a = __shfl_sync(kAllLanes, pair, from), b = __shfl_sync(kAllLanes, pair, from + 4);
  return r % 2 == 0 ? lows(a, b) : highs(a, b);
}
__device__ inline ShortWeights transposed(const ShortWeights& w) { return {transposed(w.rounded), transposed(w.rest)}; }

// Over the four lanes of a row.
template <class Op>
__device__ inline float over_row(float v, Op op) {
  v = op(v, __shfl_xor_sync(kAllLanes, v, 1));
  return op(v, __shfl_xor_sync(kAllLanes, v, 2));
}

// Dropout's factors of query i with keys j and j + 1: mostly words of one block.
template <bool dropout>
__device__ inline void short_factors(const AttentionDropout& d, const AttentionSizes& z, unsigned b, unsigned h, int i,
                                     int j, float (&factor)[2]) {
  factor[0] = factor[1] = 1;
  if constexpr (!dropout) return;
  const std::int64_t e = (h * z.tq + i) * z.tk + j;
  const auto words = [&](std::int64_t block) {
    return philox(d.key.seed, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(sample_of(d.key, b)),
                  d.key.layer, dropout_step_word(step_of(d.key)));
  };
  const Philox4 w = words(e / 4);
  const int first = static_cast<int>(e % 4);
  const std::uint32_t low = first < 2 ? (first == 0 ? w.v[0] : w.v[1]) : (first == 2 ? w.v[2] : w.v[3]);
  std::uint32_t high = first == 0 ? w.v[1] : (first == 1 ? w.v[2] : w.v[3]);
  if (first == 3) high = words(e / 4 + 1).v[0];
  const float kept = static_cast<float>(1.0 / (1.0 - d.key.p));
  factor[0] = (low >> 8) >= d.threshold ? kept : 0;
  factor[1] = (high >> 8) >= d.threshold ? kept : 0;
}

template <bool dropout>
__global__ void __launch_bounds__(kShortFragmentWarps* kWarp) attention_short_fragments(AttentionForward<bf16> a) {
  SPN_SHARED(Chunk, heads, kShortFragmentWarps * 3 * kShortHead / 8);
  const AttentionSizes& z = a.z;
  const HeadOfWarp at(z, kShortFragmentWarps);
  if (!at.there) return;
  const unsigned item = at.item, b = at.b, h = at.h;
  const int tq = static_cast<int>(z.tq), tk = static_cast<int>(z.tk), i = short_row(), j = 2 * short_column();
  bf16 *const q = reinterpret_cast<bf16*>(heads) + threadIdx.x / kWarp * 3 * kShortHead, *const k = q + kShortHead,
              *const v = k + kShortHead;
  copy_head(q, a.q, b, h, tq, z.width);
  copy_head(k, a.k, b, h, tk, z.width);
  copy_head(v, a.v, b, h, tk, z.width);
  float factor[2], p[2];
  short_factors<dropout>(a.dropout, z, b, h, i, j, factor);
  await_heads();

  short_products(q, k, p);
#pragma unroll
  for (int n = 0; n < 2; ++n)
    if (j + n >= tk) p[n] = -std::numeric_limits<float>::infinity();
  const float top = over_row(larger(p[0], p[1]), larger), scale = a.scale * static_cast<float>(kLog2e),
              shift = top * scale;
#pragma unroll
  for (int n = 0; n < 2; ++n) p[n] = brief_exp2(p[n] * scale - shift);
  const float sum = over_row(p[0] + p[1], Sum{}), inverse = 1.0F / sum;
  if (i < tq && j == 0) a.lse[static_cast<std::int64_t>(item) * tq + i] = top * a.scale + std::log(sum);
#pragma unroll
  for (int n = 0; n < 2; ++n) p[n] *= inverse * factor[n];
  Chunk o[2];
  short_weighted_rows(as_weights(p), v, o);
  put_two_rows(o, a.o, b, h, tq, z.width);
}

template <bool dropout>
__global__ void __launch_bounds__(kShortFragmentWarps* kWarp) attention_short_fragments_bwd(AttentionBackward<bf16> a) {
  SPN_SHARED(Chunk, heads, kShortFragmentWarps * 4 * kShortHead / 8);
  const AttentionSizes& z = a.z;
  const HeadOfWarp at(z, kShortFragmentWarps);
  if (!at.there) return;
  const unsigned item = at.item, b = at.b, h = at.h;
  const int tq = static_cast<int>(z.tq), tk = static_cast<int>(z.tk), i = short_row(), j = 2 * short_column();
  bf16 *const q = reinterpret_cast<bf16*>(heads) + threadIdx.x / kWarp * 4 * kShortHead, *const k = q + kShortHead,
              *const v = k + kShortHead, *const d_o = v + kShortHead;
  copy_head(q, a.q, b, h, tq, z.width);
  copy_head(k, a.k, b, h, tk, z.width);
  copy_head(v, a.v, b, h, tk, z.width);
  copy_head(d_o, a.d_o, b, h, tq, z.width);
  const float lse = i < tq ? a.lse[static_cast<std::int64_t>(item) * tq + i] : 0;
  float factor[2], p[2], ds[2];
  short_factors<dropout>(a.dropout, z, b, h, i, j, factor);
  await_heads();

  short_products(q, k, p);
  short_products(d_o, v, ds);
  const float scale = a.scale * static_cast<float>(kLog2e), shift = lse * static_cast<float>(kLog2e);
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    p[n] = i < tq && j + n < tk ? brief_exp2(p[n] * scale - shift) : 0;
    ds[n] *= factor[n];
  }
  const float mean = over_row(p[0] * ds[0] + p[1] * ds[1], Sum{});
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    ds[n] = p[n] * (ds[n] - mean) * a.scale;
    p[n] *= factor[n];
  }
  const ShortWeights of_logits = as_weights(ds);
  Chunk out[2];
  if (a.dq.p != nullptr) {
    short_weighted_rows(of_logits, k, out);
    put_two_rows(out, a.dq, b, h, tq, z.width);
  }
  if (a.dk.p != nullptr) {
    short_weighted_rows(transposed(of_logits), q, out);
    put_two_rows(out, a.dk, b, h, tk, z.width);
  }
  if (a.dv.p != nullptr) {
    short_weighted_rows(transposed(as_weights(p)), d_o, out);
    put_two_rows(out, a.dv, b, h, tk, z.width);
  }
}

}  // namespace spn::kernels::cuda
