// Attention of at most 8 queries and 8 keys of width up to 64, a warp a head, in any type: what is not bf16 in whole
// packs (attention_short_fragments.h). Lane (r, c) = (lane / 8, lane % 8) holds 8 columns of rows r and r + 4, and
// after the sums over columns the logits of those rows with key c. Rows that all lanes need go through shared memory:
// lanes of one c read one address.
#pragma once

#include <limits>

#include "kernels/cuda/device/attention.h"

namespace spn::kernels::cuda {

inline constexpr int kShortRows = 8, kShortWidth = 64, kShortColumns = 8;
template <class T>
inline constexpr int kShortWarps = std::is_same_v<T, double> ? 1 : 4;

// The head that a warp has, of `warps` in a block: its number among all, its sample, its place there. The last block
// may have more warps than heads.
struct HeadOfWarp {
  __device__ HeadOfWarp(const AttentionSizes& z, int warps)
      : item(blockIdx.x * static_cast<unsigned>(warps) + threadIdx.x / kWarp),
        b(item / static_cast<unsigned>(z.heads)),
        h(item % static_cast<unsigned>(z.heads)),
        there(b < static_cast<unsigned>(z.batch)) {}
  unsigned item, b, h;
  bool there;
};

// A lane's columns, as packs: pack p begins at column p · 8 · kPack + c · kPack, so that a row is read as one run.
template <class T>
struct ShortRow {
  static constexpr int kPack = Pack<T>::n, kPacks = kShortColumns / kPack;
  Pack<T> v[kPacks];
  __device__ static int column(int p, int c) { return (p * 8 + c) * kPack; }
  // packs: AttentionSizes::packs.
  template <bool packs>
  __device__ void read(const T* row, int width, int c) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int first = column(p, c);
      v[p] = {};
      if constexpr (packs) {
        if (first < width) v[p] = load_pack(row + first);
      } else {
#pragma unroll
        for (int k = 0; k < kPack; ++k)
          if (first + k < width) v[p].v[k] = row[first + k];
      }
    }
  }
  template <bool packs>
  __device__ void write(T* row, int width, int c) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int first = column(p, c);
      if constexpr (packs) {
        if (first < width) store_whole(row + first, v[p]);
      } else {
#pragma unroll
        for (int k = 0; k < kPack; ++k)
          if (first + k < width) row[first + k] = v[p].v[k];
      }
    }
  }
  __device__ compute_t<T> get(int i) const { return load(v[i / kPack].v[i % kPack]); }
  __device__ void set(int i, compute_t<T> x) { v[i / kPack].v[i % kPack] = convert<T>(x); }
};

// Rows r and r + 4 of a head from memory, zeros beyond.
template <bool packs, class T>
__device__ inline void read_head(ShortRow<T> (&own)[2], const T* head, std::int64_t stride, std::int64_t rows,
                                 const AttentionSizes& z, int r, int c) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    own[m] = {};
    if (r + 4 * m < rows) own[m].template read<packs>(head + (r + 4 * m) * stride, z.width, c);
  }
}
// They to the warp's shared rows; any of these.
template <class T>
__device__ inline void share_head(const ShortRow<T> (&own)[2], T* shared, int r, int c) {
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int p = 0; p < ShortRow<T>::kPacks; ++p)
      store_pack(shared + (r + 4 * m) * kShortWidth + ShortRow<T>::column(p, c), own[m].v[p]);
}
template <class T>
__device__ inline ShortRow<T> shared_row(const T* shared, int row, int c) {
  ShortRow<T> v;
  v.template read<true>(shared + row * kShortWidth, kShortWidth, c);
  return v;
}

// v[j] summed over the eight lanes of a row; lane c keeps sum c.
template <class C>
__device__ inline C sum_and_scatter(C (&v)[8], int c) {
#pragma unroll
  for (int half = 4; half > 0; half /= 2) {
    const bool up = (c & half) != 0;
#pragma unroll
    for (int j = 0; j < half; ++j) {
      const C keep = up ? v[j + half] : v[j], send = up ? v[j] : v[j + half];
      v[j] = keep + __shfl_xor_sync(kAllLanes, send, half);
    }
  }
  return v[0];
}
// Dot products of this lane's two rows with all rows in shared memory, key c's kept.
template <class T, class C>
__device__ inline void short_dots(const ShortRow<T> (&own)[2], const T* shared, int c, C (&out)[2]) {
  C part[2][8];
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const ShortRow<T> row = shared_row(shared, j, c);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      C dot = 0;
#pragma unroll
      for (int i = 0; i < kShortColumns; ++i) dot += own[m].get(i) * row.get(i);
      part[m][j] = dot;
    }
  }
  for (int m = 0; m < 2; ++m) out[m] = sum_and_scatter(part[m], c);
}
template <class C>
__device__ inline C sum_of_row(C v) {
  for (int far = 4; far > 0; far /= 2) v += __shfl_xor_sync(kAllLanes, v, far);
  return v;
}
// Rows r and r + 4 of weights · rows, or with over_queries of their transpose: rows by key.
template <bool over_queries, class T, class C>
__device__ inline void short_weighted(const C (&weights)[2], const T* shared, int r, int c, ShortRow<T> (&out)[2]) {
  C sum[2][kShortColumns] = {};
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const ShortRow<T> row = shared_row(shared, j, c);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const C w = over_queries ? __shfl_sync(kAllLanes, weights[j / 4], j % 4 * 8 + r + 4 * m)
                               : __shfl_sync(kAllLanes, weights[m], r * 8 + j);
#pragma unroll
      for (int i = 0; i < kShortColumns; ++i) sum[m][i] += w * row.get(i);
    }
  }
  for (int m = 0; m < 2; ++m)
    for (int i = 0; i < kShortColumns; ++i) out[m].set(i, sum[m][i]);
}
template <bool packs, class T>
__device__ inline void write_head(const ShortRow<T> (&own)[2], T* head, std::int64_t stride, std::int64_t rows,
                                  const AttentionSizes& z, int r, int c) {
  for (int m = 0; m < 2; ++m)
    if (r + 4 * m < rows) own[m].template write<packs>(head + (r + 4 * m) * stride, z.width, c);
}

template <class T, bool packed>
__global__ void __launch_bounds__(kShortWarps<T>* kWarp) attention_short(AttentionForward<T> a) {
  using C = compute_t<T>;
  constexpr int kHead = kShortRows * kShortWidth;
  SPN_SHARED(Pack<T>, shared, kShortWarps<T> * 2 * kHead / Pack<T>::n);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int r = lane / 8, c = lane % 8;
  T* const k = reinterpret_cast<T*>(shared) + warp * 2 * kHead;
  T* const v = k + kHead;
  const AttentionSizes& z = a.z;
  const HeadOfWarp at(z, kShortWarps<T>);
  if (!at.there) return;
  const unsigned item = at.item, b = at.b, h = at.h;
  ShortRow<T> q[2], own[2], own_v[2];
  read_head<packed>(q, a.q.of(b, h), a.q.row, z.tq, z, r, c);
  read_head<packed>(own, a.k.of(b, h), a.k.row, z.tk, z, r, c);
  read_head<packed>(own_v, a.v.of(b, h), a.v.row, z.tk, z, r, c);
  share_head(own, k, r, c);
  share_head(own_v, v, r, c);
  __syncwarp();
  C p[2];
  short_dots(q, k, c, p);
  for (int m = 0; m < 2; ++m) {
    const C logit = c < z.tk ? p[m] * a.scale : -std::numeric_limits<C>::infinity();
    C top = logit;
    for (int far = 4; far > 0; far /= 2) {
      const C other = __shfl_xor_sync(kAllLanes, top, far);
      top = other > top ? other : top;
    }
    const C e = std::exp(logit - top), sum = sum_of_row(e);
    const int i = r + 4 * m;
    p[m] = e * (C(1) / sum);
    if (i < z.tq && c < z.tk) p[m] *= a.dropout.template factor<C>(z, b, h, i, c);
    if (i < z.tq && c == 0) a.lse[item * z.tq + i] = top + std::log(sum);
  }
  short_weighted<false>(p, v, r, c, own);
  write_head<packed>(own, a.o.of(b, h), a.o.row, z.tq, z, r, c);
}

template <class T, bool packed>
__global__ void __launch_bounds__(kShortWarps<T>* kWarp) attention_short_bwd(AttentionBackward<T> a) {
  using C = compute_t<T>;
  constexpr int kHead = kShortRows * kShortWidth;
  SPN_SHARED(Pack<T>, shared, kShortWarps<T> * 4 * kHead / Pack<T>::n);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int r = lane / 8, c = lane % 8;
  T* const q = reinterpret_cast<T*>(shared) + warp * 4 * kHead;
  T *const k = q + kHead, *const v = k + kHead, *const d_o = v + kHead;
  const AttentionSizes& z = a.z;
  const HeadOfWarp at(z, kShortWarps<T>);
  if (!at.there) return;
  const unsigned item = at.item, b = at.b, h = at.h;
  ShortRow<T> own_q[2], own_do[2], own[2], own_v[2];
  read_head<packed>(own_q, a.q.of(b, h), a.q.row, z.tq, z, r, c);
  read_head<packed>(own_do, a.d_o.of(b, h), a.d_o.row, z.tq, z, r, c);
  read_head<packed>(own, a.k.of(b, h), a.k.row, z.tk, z, r, c);
  read_head<packed>(own_v, a.v.of(b, h), a.v.row, z.tk, z, r, c);
  share_head(own_q, q, r, c);
  share_head(own_do, d_o, r, c);
  share_head(own, k, r, c);
  share_head(own_v, v, r, c);
  __syncwarp();
  C p[2], ds[2];
  short_dots(own_q, k, c, p);
  short_dots(own_do, v, c, ds);
  for (int m = 0; m < 2; ++m) {
    const int i = r + 4 * m;
    const bool in = i < z.tq && c < z.tk;
    const C weight = in ? std::exp(p[m] * a.scale - a.lse[item * z.tq + i]) : C(0);
    const C keep = in ? a.dropout.template factor<C>(z, b, h, i, c) : C(0);
    const C g = ds[m] * keep, mean = sum_of_row(weight * g);
    ds[m] = weight * (g - mean) * a.scale;
    p[m] = weight * keep;
  }
  if (a.dq.p != nullptr) {
    short_weighted<false>(ds, k, r, c, own);
    write_head<packed>(own, a.dq.of(b, h), a.dq.row, z.tq, z, r, c);
  }
  if (a.dk.p != nullptr) {
    short_weighted<true>(ds, q, r, c, own);
    write_head<packed>(own, a.dk.of(b, h), a.dk.row, z.tk, z, r, c);
  }
  if (a.dv.p != nullptr) {
    short_weighted<true>(p, d_o, r, c, own);
    write_head<packed>(own, a.dv.of(b, h), a.dv.row, z.tk, z, r, c);
  }
}

}  // namespace spn::kernels::cuda
