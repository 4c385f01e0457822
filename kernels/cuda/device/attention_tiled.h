// Attention of any length and width: a block owns a tile of queries (or of keys, for their gradients) and streams the
// other side past it through shared memory. Logits exist only as a tile; no atomics, sums in one order.
#pragma once

#include <limits>

#include "kernels/cuda/device/attention.h"

namespace spn::kernels::cuda {

template <class T>
__global__ void __launch_bounds__(kTileThreads) attention_tiled(AttentionForward<T> a, AttentionTiles s) {
  using C = compute_t<T>;
  SPN_DYNAMIC_SHARED(C, shared);
  C* const q = shared;
  C* const o = q + s.own * s.row;
  C* const k = o + s.own * s.row;
  C* const v = k + s.streamed * s.row;
  C* const p = v + s.streamed * s.row;  // logits, then weights
  C* const most = p + s.own * s.weights();
  C* const sum = most + s.own;
  C* const fade = sum + s.own;

  const AttentionSizes& z = a.z;
  const std::int64_t blocks = (z.tq + s.own - 1) / s.own, item = blockIdx.x / blocks;
  const std::int64_t b = item / z.heads, h = item % z.heads, i0 = blockIdx.x % blocks * s.own;
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp;
  load_rows(q, a.q.of(b, h), a.q.row, i0, z.tq, s.own, z, s.row);
  zero_rows(o, s.own, s.row);
  for (int r = t; r < s.own; r += kTileThreads) {
    most[r] = -std::numeric_limits<C>::infinity();
    sum[r] = C(0);
  }
  for (std::int64_t j0 = 0; j0 < z.tk; j0 += s.streamed) {
    load_rows(k, a.k.of(b, h), a.k.row, j0, z.tk, s.streamed, z, s.row);
    load_rows(v, a.v.of(b, h), a.v.row, j0, z.tk, s.streamed, z, s.row);
    __syncthreads();
    const int across = s.streamed / 4, down = s.own / 4;
    for (int tile = t; tile < across * down; tile += kTileThreads) {
      const int r = tile / across, c = tile % across;
      C dot[4][4];
      dots(q + r * s.row, down, k + c * s.row, across, s.row, dot);
      for (int m = 0; m < 4; ++m)
        for (int n = 0; n < 4; ++n)
          p[(r + m * down) * s.weights() + c + n * across] =
              j0 + c + n * across < z.tk ? dot[m][n] * a.scale : -std::numeric_limits<C>::infinity();
    }
    __syncthreads();
    for (int r = t / kWarp; r < s.own; r += kTileThreads / kWarp) {  // a warp a row; streamed is at most 32
      const C logit = lane < s.streamed ? p[r * s.weights() + lane] : -std::numeric_limits<C>::infinity();
      C top = logit;
      for (int far = kWarp / 2; far > 0; far /= 2) {
        const C other = __shfl_xor_sync(kAllLanes, top, far);
        top = other > top ? other : top;
      }
      const C before = most[r], now = top > before ? top : before;
      const C e = lane < s.streamed ? std::exp(logit - now) : C(0);
      const C total = warp_reduce(e, Sum{});
      if (lane < s.streamed)
        p[r * s.weights() + lane] =
            e != 0 && i0 + r < z.tq ? e * a.dropout.template factor<C>(z, b, h, i0 + r, j0 + lane) : e;
      __syncwarp();  // all have read most[r]
      if (lane == 0) {
        fade[r] = std::exp(before - now);
        sum[r] = sum[r] * fade[r] + total;
        most[r] = now;
      }
    }
    __syncthreads();
    add_weighted(o, fade, p, v, s);
    __syncthreads();
  }
  for (int r = t; r < s.own; r += kTileThreads) {
    fade[r] = C(1) / sum[r];
    if (i0 + r < z.tq) a.lse[item * z.tq + i0 + r] = most[r] + std::log(sum[r]);
  }
  __syncthreads();
  for (int i = t; i < s.own * (s.row - 4); i += kTileThreads)
    o[i / (s.row - 4) * s.row + i % (s.row - 4)] *= fade[i / (s.row - 4)];
  __syncthreads();
  store_rows(a.o.of(b, h), o, a.o.row, i0, z.tq, s.own, z, s.row);
}

// delta[r] = Σ o · do of row first + r: what every logit's gradient of the row is taken off. A warp a row.
template <class T, class C>
__device__ inline void load_deltas(C* lse, C* delta, const AttentionBackward<T>& a, std::int64_t b, std::int64_t h,
                                   std::int64_t first, int n, const C* d_o, int row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int r = static_cast<int>(threadIdx.x) / kWarp; r < n; r += kTileThreads / kWarp) {
    C dot = 0;
    if (first + r < a.z.tq)
      for (int c = lane; c < a.z.width; c += kWarp)
        dot += load(a.o.of(b, h)[(first + r) * a.o.row + c]) * d_o[r * row + c];
    dot = warp_reduce(dot, Sum{});
    if (lane == 0) {
      delta[r] = dot;
      lse[r] = first + r < a.z.tq ? a.lse[(b * a.z.heads + h) * a.z.tq + first + r] : C(0);
    }
  }
}

// Dot products q·k and do·v of a tile, kept where their weights will stand. A and B are the owned and streamed sides.
template <class C>
__device__ inline void two_dots(const C* a0, const C* a1, const C* b0, const C* b1, C* p, C* ds,
                                const AttentionTiles& s) {
  const int across = s.streamed / 4, down = s.own / 4;
  for (int tile = static_cast<int>(threadIdx.x); tile < across * down; tile += kTileThreads) {
    const int r = tile / across, c = tile % across;
    C dot[4][4];
    dots(a0 + r * s.row, down, b0 + c * s.row, across, s.row, dot);
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int n = 0; n < 4; ++n) p[(r + m * down) * s.weights() + c + n * across] = dot[m][n];
    dots(a1 + r * s.row, down, b1 + c * s.row, across, s.row, dot);
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int n = 0; n < 4; ++n) ds[(r + m * down) * s.weights() + c + n * across] = dot[m][n];
  }
}

// In place: p · keep and the gradient of the unscaled logit of query i and key j, from their two dot products.
template <class T, class C>
__device__ inline void weight_and_gradient(const AttentionBackward<T>& a, std::int64_t b, std::int64_t h,
                                           std::int64_t i, std::int64_t j, C lse, C delta, C& p, C& ds) {
  const C qk = p, dov = ds;
  p = ds = C(0);
  if (i >= a.z.tq || j >= a.z.tk) return;
  const C weight = std::exp(qk * a.scale - lse), keep = a.dropout.template factor<C>(a.z, b, h, i, j);
  p = weight * keep;
  ds = weight * (dov * keep - delta) * a.scale;
}

// dq of a tile of queries.
template <class T>
__global__ void __launch_bounds__(kTileThreads) attention_tiled_dq(AttentionBackward<T> a, AttentionTiles s) {
  using C = compute_t<T>;
  SPN_DYNAMIC_SHARED(C, shared);
  C* const q = shared;
  C* const d_o = q + s.own * s.row;
  C* const dq = d_o + s.own * s.row;
  C* const k = dq + s.own * s.row;
  C* const v = k + s.streamed * s.row;
  C* const p = v + s.streamed * s.row;
  C* const ds = p + s.own * s.weights();
  C* const lse = ds + s.own * s.weights();
  C* const delta = lse + s.own;

  const AttentionSizes& z = a.z;
  const std::int64_t blocks = (z.tq + s.own - 1) / s.own, item = blockIdx.x / blocks;
  const std::int64_t b = item / z.heads, h = item % z.heads, i0 = blockIdx.x % blocks * s.own;
  const int t = static_cast<int>(threadIdx.x);
  load_rows(q, a.q.of(b, h), a.q.row, i0, z.tq, s.own, z, s.row);
  load_rows(d_o, a.d_o.of(b, h), a.d_o.row, i0, z.tq, s.own, z, s.row);
  zero_rows(dq, s.own, s.row);
  __syncthreads();
  load_deltas(lse, delta, a, b, h, i0, s.own, d_o, s.row);
  for (std::int64_t j0 = 0; j0 < z.tk; j0 += s.streamed) {
    load_rows(k, a.k.of(b, h), a.k.row, j0, z.tk, s.streamed, z, s.row);
    load_rows(v, a.v.of(b, h), a.v.row, j0, z.tk, s.streamed, z, s.row);
    __syncthreads();
    two_dots(q, d_o, k, v, p, ds, s);
    __syncthreads();
    for (int e = t; e < s.own * s.streamed; e += kTileThreads) {
      const int i = e / s.streamed, j = e % s.streamed, w = i * s.weights() + j;
      weight_and_gradient(a, b, h, i0 + i, j0 + j, lse[i], delta[i], p[w], ds[w]);
    }
    __syncthreads();
    add_weighted<C>(dq, nullptr, ds, k, s);
    __syncthreads();
  }
  store_rows(a.dq.of(b, h), dq, a.dq.row, i0, z.tq, s.own, z, s.row);
}

// dk and dv of a tile of keys; either may be absent.
template <class T>
__global__ void __launch_bounds__(kTileThreads) attention_tiled_dkv(AttentionBackward<T> a, AttentionTiles s) {
  using C = compute_t<T>;
  SPN_DYNAMIC_SHARED(C, shared);
  C* const k = shared;
  C* const v = k + s.own * s.row;
  C* const dk = v + s.own * s.row;
  C* const dv = dk + s.own * s.row;
  C* const q = dv + s.own * s.row;
  C* const d_o = q + s.streamed * s.row;
  C* const p = d_o + s.streamed * s.row;  // [keys, queries]
  C* const ds = p + s.own * s.weights();
  C* const lse = ds + s.own * s.weights();
  C* const delta = lse + s.streamed;

  const AttentionSizes& z = a.z;
  const std::int64_t blocks = (z.tk + s.own - 1) / s.own, item = blockIdx.x / blocks;
  const std::int64_t b = item / z.heads, h = item % z.heads, j0 = blockIdx.x % blocks * s.own;
  const int t = static_cast<int>(threadIdx.x);
  load_rows(k, a.k.of(b, h), a.k.row, j0, z.tk, s.own, z, s.row);
  load_rows(v, a.v.of(b, h), a.v.row, j0, z.tk, s.own, z, s.row);
  zero_rows(dk, s.own, s.row);
  zero_rows(dv, s.own, s.row);
  for (std::int64_t i0 = 0; i0 < z.tq; i0 += s.streamed) {
    load_rows(q, a.q.of(b, h), a.q.row, i0, z.tq, s.streamed, z, s.row);
    load_rows(d_o, a.d_o.of(b, h), a.d_o.row, i0, z.tq, s.streamed, z, s.row);
    __syncthreads();
    load_deltas(lse, delta, a, b, h, i0, s.streamed, d_o, s.row);
    __syncthreads();
    two_dots(k, v, q, d_o, p, ds, s);
    __syncthreads();
    for (int e = t; e < s.own * s.streamed; e += kTileThreads) {
      const int j = e / s.streamed, i = e % s.streamed, w = j * s.weights() + i;
      weight_and_gradient(a, b, h, i0 + i, j0 + j, lse[i], delta[i], p[w], ds[w]);
    }
    __syncthreads();
    if (a.dv.p != nullptr) add_weighted<C>(dv, nullptr, p, d_o, s);
    if (a.dk.p != nullptr) add_weighted<C>(dk, nullptr, ds, q, s);
    __syncthreads();
  }
  if (a.dk.p != nullptr) store_rows(a.dk.of(b, h), dk, a.dk.row, j0, z.tk, s.own, z, s.row);
  if (a.dv.p != nullptr) store_rows(a.dv.of(b, h), dv, a.dv.row, j0, z.tk, s.own, z, s.row);
}

}  // namespace spn::kernels::cuda
