// Rows shared out over threads: one row a thread, a warp or a block; held in registers, so that memory is read once, or
// streamed where a row is too long for that or its length is no multiple of 16 bytes.
#pragma once

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

// V values of T that move in one instruction.
template <class T, int V>
struct alignas(sizeof(T) * V) Lane {
  T v[V];
};

// By one instruction from 8 bytes on.
template <class T, int V>
__device__ inline void store_lane(T* p, const Lane<T, V>& v) {
  if constexpr (sizeof v == 8 || sizeof v == 16)
    store_whole(p, v);
  else
    *reinterpret_cast<Lane<T, V>*>(p) = v;
}

// V elements at p: 16 bytes a load (p aligned to them), fewer where V is less than they are.
template <int V, class T>
__device__ inline void load_some(const T* p, compute_t<T> (&e)[V]) {
  if constexpr (V == 1) {
    e[0] = load(*p);
  } else if constexpr (V < Pack<T>::n) {
    const auto v = *reinterpret_cast<const Lane<T, V>*>(p);
#pragma unroll
    for (int j = 0; j < V; ++j) e[j] = load(v.v[j]);
  } else {
    constexpr int n = Pack<T>::n;
    static_assert(V % n == 0);
#pragma unroll
    for (int q = 0; q < V / n; ++q) {
      const Pack<T> v = load_pack(p + q * n);
#pragma unroll
      for (int j = 0; j < n; ++j) e[q * n + j] = load(v.v[j]);
    }
  }
}
template <int V, class T, class C>
__device__ inline void store_some(T* p, const C (&e)[V]) {
  if constexpr (V == 1) {
    *p = convert<T>(e[0]);
  } else if constexpr (V < Pack<T>::n) {
    Lane<T, V> v;
#pragma unroll
    for (int j = 0; j < V; ++j) v.v[j] = convert<T>(e[j]);
    *reinterpret_cast<Lane<T, V>*>(p) = v;
  } else {
    constexpr int n = Pack<T>::n;
    static_assert(V % n == 0);
#pragma unroll
    for (int q = 0; q < V / n; ++q) {
      Pack<T> v;
#pragma unroll
      for (int j = 0; j < n; ++j) v.v[j] = convert<T>(e[q * n + j]);
      store_pack(p + q * n, v);
    }
  }
}

// Who works on a row: its place among them, how many they are, the first row and the step to the next.
struct ThreadGroup {
  static __device__ int rank() { return 0; }
  static __device__ int size() { return 1; }
  static __device__ std::int64_t first() { return global_thread(); }
  static __device__ std::int64_t count() { return all_threads(); }
  template <class Op, class T>
  static __device__ T reduce(T v, Op, T) {
    return v;
  }
};
struct WarpGroup {
  static __device__ int rank() { return static_cast<int>(threadIdx.x) % kWarp; }
  static __device__ int size() { return kWarp; }
  static __device__ std::int64_t first() { return global_thread() / kWarp; }
  static __device__ std::int64_t count() { return all_threads() / kWarp; }
  template <class Op, class T>
  static __device__ T reduce(T v, Op op, T) {
    return warp_reduce(v, op);
  }
};
struct BlockGroup {
  static __device__ int rank() { return static_cast<int>(threadIdx.x); }
  static __device__ int size() { return static_cast<int>(blockDim.x); }
  static __device__ std::int64_t first() { return blockIdx.x; }
  static __device__ std::int64_t count() { return gridDim.x; }
  template <class Op, class T>
  static __device__ T reduce(T v, Op op, T identity) {
    return block_reduce(v, op, identity);
  }
};

// Up to packs · size · bytes of a row in registers: 16 a load, or 8 for rows whose length is a multiple of no more.
// Columns k of a thread are the V from i on, in each().
template <class G, int packs, int bytes = 16>
struct Registers : G {
  using Group = G;
  static constexpr int kPacks = packs;
  template <class T>
  static constexpr int width = bytes / static_cast<int>(sizeof(T));

  template <class T>
  struct Row {
    using Part = Lane<T, width<T>>;
    Part v[packs];
    __device__ Row(const T* p, int n) {
#pragma unroll
      for (int k = 0; k < packs; ++k) {
        const int i = (k * G::size() + G::rank()) * width<T>;
        v[k] = i < n ? *reinterpret_cast<const Part*>(p + i) : Part{};
      }
    }
    __device__ void get(int k, int, compute_t<T> (&e)[width<T>]) const {
#pragma unroll
      for (int j = 0; j < width<T>; ++j) e[j] = load(v[k].v[j]);
    }
    // Becomes itself + gate · other, gate null: 1, and is written to `to`. By an fma that is said, so that rows in
    // registers and streamed ones have the same bits.
    __device__ void add(const T* other, const T* gate, T* to, int n) {
      const Row o(other, n);
      each<width<T>>(n, [&](int k, int i) {
        compute_t<T> mine[width<T>], theirs[width<T>], by[width<T>];
        get(k, i, mine);
        o.get(k, i, theirs);
        if (gate != nullptr) load_some<width<T>>(gate + i, by);
#pragma unroll
        for (int j = 0; j < width<T>; ++j)
          v[k].v[j] = convert<T>(gate != nullptr ? std::fma(by[j], theirs[j], mine[j]) : mine[j] + theirs[j]);
        *reinterpret_cast<Part*>(to + i) = v[k];
      });
    }
  };
  template <int V, class F>
  static __device__ void each(int n, F&& f) {
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int i = (k * G::size() + G::rank()) * V;
      if (i < n) f(k, i);
    }
  }
};

// Any row, one element at a time, read again in each pass: from the second on it mostly comes from the cache.
template <class G>
struct Streamed : G {
  using Group = G;
  static constexpr int kPacks = 0;
  template <class T>
  static constexpr int width = 1;

  template <class T>
  struct Row {
    const T* p;
    __device__ Row(const T* row, int) : p(row) {}
    __device__ void get(int, int i, compute_t<T> (&e)[1]) const { e[0] = load(p[i]); }
    __device__ void add(const T* other, const T* gate, T* to, int n) {
      each<1>(n, [&](int, int i) {
        const compute_t<T> theirs = load(other[i]);
        to[i] = convert<T>(gate != nullptr ? std::fma(load(gate[i]), theirs, load(p[i])) : load(p[i]) + theirs);
      });
      p = to;  // each thread reads what it has written itself
    }
  };
  template <int V, class F>
  static __device__ void each(int n, F&& f) {
    for (int i = G::rank(); i < n; i += G::size()) f(0, i);
  }
};

}  // namespace spn::kernels::cuda
