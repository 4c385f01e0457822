// Layer norm: one pass over the memory of each row. The backward keeps the columns' sums of its rows with it.
#pragma once

#include "kernels/cuda/device/rows.h"

namespace spn::kernels::cuda {

// What is added to the rows before.
template <class T>
struct AddedBranch {
  const T* branch;
  const T* gate;  // null: 1
  T* sum;
};

// T: of the rows, W: of the parameters, L: how a row lies on threads (rows.h).
// y null: the sum alone.
template <class T, class W, class L, bool adds>
__global__ void layer_norm_rows(const T* x, AddedBranch<T> added, const W* w, const W* b, T* y, compute_t<T>* mean,
                                compute_t<T>* rstd, std::int64_t rows, int n, compute_t<T> eps) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  const C inv_n = C(1) / static_cast<C>(n);
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    typename L::template Row<T> p(x + r * n, n);
    if constexpr (adds) {
      p.add(added.branch + r * n, added.gate, added.sum + r * n, n);
      if (y == nullptr) continue;
    }
    C s = 0, ss = 0, rest = 0;
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) s += e[j];
    });
    const C near = L::reduce(s, Sum{}, C(0)) * inv_n;
    // what is left around a rounded mean corrects both, as on the CPU
    L::template each<V>(n, [&](int k, int i) {
      C e[V];
      p.get(k, i, e);
      for (int j = 0; j < V; ++j) {
        const C d = e[j] - near;
        ss += d * d;
        rest += d;
      }
    });
    ss = L::reduce(ss, Sum{}, C(0));
    rest = L::reduce(rest, Sum{}, C(0));
    const C m = near + rest * inv_n;
    const C rs = C(1) / std::sqrt((ss - rest * rest * inv_n) * inv_n + eps);
    if (L::rank() == 0) {
      mean[r] = m;
      rstd[r] = rs;
    }
    T* q = y + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], weight[V], bias[V];
      p.get(k, i, e);
      load_some<V>(w + i, weight);
      load_some<V>(b + i, bias);
      for (int j = 0; j < V; ++j) e[j] = (e[j] - m) * rs * weight[j] + bias[j];
      store_some<V>(q + i, e);
    });
  }
}

// Sums over the rows that a thread has seen, of the columns it has: in registers, or for streamed rows in memory.
template <class C, class L, int V>
struct ColumnSums {
  static constexpr bool kHeld = L::kPacks > 0;
  static constexpr int kCount = kHeld ? L::kPacks * V : 1;
  C held[kCount];
  C* memory;  // [n], this block's: each column belongs to one thread
  __device__ ColumnSums(C* at, int n) : memory(at) {
    if constexpr (kHeld) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) held[k] = 0;
    } else {
      for (int i = L::rank(); i < n; i += L::size()) memory[i] = 0;
    }
  }
  __device__ void add(int k, int i, int j, C v) {
    if constexpr (kHeld)
      held[k * V + j] += v;
    else
      memory[i] += v;
  }
  // Into memory [n] of the block: warps in turn where each has its own rows. `shared` has room for n.
  __device__ void finish(int n, C* shared) {
    if constexpr (kHeld && std::is_same_v<typename L::Group, BlockGroup>) {
      L::template each<V>(n, [&](int k, int i) {
        for (int j = 0; j < V; ++j) memory[i + j] = held[k * V + j];
      });
    } else if constexpr (kHeld) {
      const int me = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
      for (int warp = 0; warp < warps; ++warp) {
        if (warp == me)
          L::template each<V>(n, [&](int k, int i) {
            for (int j = 0; j < V; ++j) shared[i + j] = (warp == 0 ? C(0) : shared[i + j]) + held[k * V + j];
          });
        __syncthreads();
      }
      for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) memory[i] = shared[i];
      __syncthreads();
    }
  }
};

// Threads of the backward that a multiprocessor holds: the sums of 32 columns a thread fill most of the registers.
template <class T, class L>
inline constexpr int kResident = L::kPacks* L::template width<T> * sizeof(T) <= 32 ? 1024 : 384;
template <class L>
inline constexpr int kMostThreads = std::is_same_v<typename L::Group, WarpGroup> ? 128 : 256;

// dx absent: null. sums: [blocks, 2, n] for dw and db, or null. Dynamic shared memory: n of the compute type where
// warps have rows of their own and sums are wanted.
template <class T, class W, class L>
__global__ void __launch_bounds__(kMostThreads<L>, kResident<T, L> / kMostThreads<L>)
    layer_norm_bwd_rows(const T* x, const W* w, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy, T* dx,
                        compute_t<T>* sums, std::int64_t rows, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  SPN_DYNAMIC_SHARED(C, shared);
  const C inv_n = C(1) / static_cast<C>(n);
  C* const mine = sums == nullptr ? nullptr : sums + static_cast<std::int64_t>(blockIdx.x) * 2 * n;
  const int columns = mine == nullptr ? 0 : n;
  ColumnSums<C, L, V> sum_w(mine, columns), sum_b(mine + columns, columns);
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const typename L::template Row<T> p(x + r * n, n), g(dy + r * n, n);
    const C m = mean[r], rs = rstd[r];
    C s1 = 0, s2 = 0;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V], weight[V];
      p.get(k, i, e);
      g.get(k, i, d);
      load_some<V>(w + i, weight);
      for (int j = 0; j < V; ++j) {
        const C normal = (e[j] - m) * rs;
        if (mine != nullptr) {
          sum_w.add(k, i, j, d[j] * normal);
          sum_b.add(k, i, j, d[j]);
        }
        s1 += d[j] * weight[j];
        s2 += d[j] * weight[j] * normal;
      }
    });
    if (dx == nullptr) continue;
    s1 = L::reduce(s1, Sum{}, C(0)) * inv_n;
    s2 = L::reduce(s2, Sum{}, C(0)) * inv_n;
    T* q = dx + r * n;
    L::template each<V>(n, [&](int k, int i) {
      C e[V], d[V], weight[V];
      p.get(k, i, e);
      g.get(k, i, d);
      load_some<V>(w + i, weight);
      for (int j = 0; j < V; ++j) e[j] = rs * (d[j] * weight[j] - s1 - (e[j] - m) * rs * s2);
      store_some<V>(q + i, e);
    });
  }
  if (mine == nullptr) return;
  sum_w.finish(n, shared);
  sum_b.finish(n, shared);
}

// dw and db (either may be null) of sums [parts, 2, n]: 32 columns and 8 lines of parts a block of 256 threads.
template <class C, class W>
__global__ void layer_norm_join(const C* sums, W* dw, W* db, std::int64_t parts, int n) {
  SPN_SHARED(C, lines, 256);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, line = static_cast<int>(threadIdx.x) / kWarp;
  for (int first = static_cast<int>(blockIdx.x) * kWarp; first < 2 * n; first += static_cast<int>(gridDim.x) * kWarp) {
    const int c = first + lane;
    C s = 0;
    if (c < 2 * n)
#pragma unroll 4
      for (std::int64_t p = line; p < parts; p += 8) s += sums[p * 2 * n + c];
    lines[threadIdx.x] = s;
    __syncthreads();
    if (line == 0 && c < 2 * n) {
      for (int k = 1; k < 8; ++k) s += lines[k * kWarp + lane];
      W* const to = c < n ? dw : db;
      if (to != nullptr) to[c < n ? c : c - n] = convert<W>(s);
    }
    __syncthreads();
  }
}

}  // namespace spn::kernels::cuda
