// What the attention kernels share: heads in memory, dropout factors, tiles of rows in shared memory and their
// products.
#pragma once

#include "kernels/cuda/device/base.h"
#include "kernels/math/dropout.h"

namespace spn::kernels::cuda {

// One of q, k, v …: [samples, heads, rows, width] with unit stride in width. p null: absent.
template <class T>
struct Heads {
  T* p;
  std::int64_t sample, head, row;
  __device__ T* of(std::int64_t b, std::int64_t h) const { return p + b * sample + h * head; }
};

struct AttentionSizes {
  std::int64_t batch, heads, tq, tk;
  int width;
  bool packs;  // rows of all heads begin at 16 bytes, and hold whole packs
};

struct AttentionDropout {
  DropoutKey key;  // p = 0: none
  std::uint32_t threshold;
  // 0 or 1 / (1 − p) for query i and key j.
  template <class C>
  __device__ C factor(const AttentionSizes& z, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    if (!(key.p > 0)) return C(1);
    const std::uint32_t bits =
        dropout_bits(key.seed, step_of(key), key.layer, sample_of(key, b), (h * z.tq + i) * z.tk + j);
    return (bits >> 8) >= threshold ? static_cast<C>(1.0 / (1.0 - key.p)) : C(0);
  }
};

template <class T>
struct AttentionForward {
  Heads<const T> q, k, v;
  Heads<T> o;
  compute_t<T>* lse;
  compute_t<T> scale;
  AttentionSizes z;
  AttentionDropout dropout;
};
template <class T>
struct AttentionBackward {
  Heads<const T> q, k, v, o, d_o;
  Heads<T> dq, dk, dv;
  const compute_t<T>* lse;
  compute_t<T> scale;
  AttentionSizes z;
  AttentionDropout dropout;
};

inline constexpr int kTileThreads = 128;

// Four values of shared memory, moved at once.
template <class C>
struct alignas(16) Quad {
  C v[4];
};

// How a block works: it owns `own` rows and streams the others past them `streamed` at a time, both multiples of 4.
// Rows in shared memory are `row` apart: the width in whole quads, and one more so that neighbours lie in other banks.
struct AttentionTiles {
  int own, streamed, row;
  __host__ __device__ int weights() const { return streamed + 4; }  // a row of weights
  __host__ __device__ int quads() const { return row / 4 - 1; }
};

// Rows first … first + n − 1 of a head into shared memory, as C; beyond `rows` and the width: zeros.
template <class T, class C>
__device__ inline void load_rows(C* to, const T* from, std::int64_t stride, std::int64_t first, std::int64_t rows,
                                 int n, const AttentionSizes& z, int row) {
  constexpr int kPack = Pack<T>::n;
  const int t = static_cast<int>(threadIdx.x);
  if (z.packs) {
    const int packs = z.width / kPack;
    for (int i = t; i < n * packs; i += kTileThreads) {
      const int r = i / packs, c = i % packs * kPack;
      Pack<T> in = {};
      if (first + r < rows) in = load_pack(from + (first + r) * stride + c);
      for (int k = 0; k < kPack; ++k) to[r * row + c + k] = load(in.v[k]);
    }
    const int rest = row - 4 - z.width;  // to whole quads
    for (int i = t; i < n * rest; i += kTileThreads) to[i / rest * row + z.width + i % rest] = C(0);
  } else {
    for (int i = t; i < n * (row - 4); i += kTileThreads) {
      const int r = i / (row - 4), c = i % (row - 4);
      to[r * row + c] = first + r < rows && c < z.width ? load(from[(first + r) * stride + c]) : C(0);
    }
  }
}

template <class T, class C>
__device__ inline void store_rows(T* to, const C* from, std::int64_t stride, std::int64_t first, std::int64_t rows,
                                  int n, const AttentionSizes& z, int row) {
  constexpr int kPack = Pack<T>::n;
  const int t = static_cast<int>(threadIdx.x);
  if (z.packs) {
    const int packs = z.width / kPack;
    for (int i = t; i < n * packs; i += kTileThreads) {
      const int r = i / packs, c = i % packs * kPack;
      if (first + r >= rows) break;
      Pack<T> out;
      for (int k = 0; k < kPack; ++k) out.v[k] = convert<T>(from[r * row + c + k]);
      store_pack(to + (first + r) * stride + c, out);
    }
  } else {
    for (int i = t; i < n * z.width; i += kTileThreads) {
      const int r = i / z.width, c = i % z.width;
      if (first + r >= rows) break;
      to[(first + r) * stride + c] = convert<T>(from[r * row + c]);
    }
  }
}

template <class C>
__device__ inline void zero_rows(C* to, int n, int row) {
  for (int i = static_cast<int>(threadIdx.x); i < n * row; i += kTileThreads) to[i] = C(0);
}

// 4 x 4 dot products of rows of a and b, `apart` rows from each other: a value read serves four products.
template <class C>
__device__ inline void dots(const C* a, int a_apart, const C* b, int b_apart, int row, C (&out)[4][4]) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) out[i][j] = C(0);
  for (int c = 0; c < row - 4; c += 4) {
    Quad<C> x[4], y[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = *reinterpret_cast<const Quad<C>*>(a + i * a_apart * row + c);
#pragma unroll
    for (int j = 0; j < 4; ++j) y[j] = *reinterpret_cast<const Quad<C>*>(b + j * b_apart * row + c);
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) out[i][j] += x[i].v[k] * y[j].v[k];
  }
}

// sum[own, width] = fade[own] · sum + weights[own, streamed] · rows[streamed, width]; fade null: 1.
template <class C>
__device__ inline void add_weighted(C* sum, const C* fade, const C* weights, const C* rows, const AttentionTiles& s) {
  const int quads = s.quads(), apart = s.own / 4;
  for (int tile = static_cast<int>(threadIdx.x); tile < apart * quads; tile += kTileThreads) {
    const int first = tile / quads, c = tile % quads * 4;
    Quad<C> out[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = first + i * apart;
      out[i] = *reinterpret_cast<const Quad<C>*>(sum + r * s.row + c);
      if (fade != nullptr)
        for (int k = 0; k < 4; ++k) out[i].v[k] *= fade[r];
    }
    for (int n = 0; n < s.streamed; n += 4) {
      Quad<C> w[4], x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        w[i] = *reinterpret_cast<const Quad<C>*>(weights + (first + i * apart) * s.weights() + n);
#pragma unroll
      for (int m = 0; m < 4; ++m) x[m] = *reinterpret_cast<const Quad<C>*>(rows + (n + m) * s.row + c);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int m = 0; m < 4; ++m)
#pragma unroll
          for (int k = 0; k < 4; ++k) out[i].v[k] += w[i].v[m] * x[m].v[k];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) *reinterpret_cast<Quad<C>*>(sum + (first + i * apart) * s.row + c) = out[i];
  }
}

}  // namespace spn::kernels::cuda
