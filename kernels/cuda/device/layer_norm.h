// Layer norm: one pass over the memory of each row. The backward keeps the columns' sums of its rows with it.
#pragma once

#include "kernels/cuda/device/fragments.h"
#include "kernels/cuda/device/rows.h"

namespace spn::kernels::cuda {

// What is added to the rows before.
template <class T>
struct AddedBranch {
  const T* branch;
  const T* gate;  // null: 1
  T* sum;
};

// All columns that a thread has room for in registers, also where the row has ended (zeros, to be kept from the
// result); of streamed rows those of the row.
template <class L, int V, class F>
__device__ inline void each_held(int n, F&& f) {
  if constexpr (L::kPacks > 0) {
#pragma unroll
    for (int k = 0; k < L::kPacks; ++k) f(k, (k * L::size() + L::rank()) * V);
  } else {
    L::template each<V>(n, f);
  }
}

// A row of n elements, or of none. bf16 in registers lies there in words of two: halves that live from row to row cost
// nvcc an instruction each to take apart and one to join.
template <class T, class L>
struct HeldRow {
  static constexpr int V = L::template width<T>;
  static constexpr bool kWords = L::kPacks > 0 && std::is_same_v<T, bf16>;
  using Word = std::conditional_t<kWords, std::uint32_t, T>;
  typename L::template Row<Word> row;
  __device__ HeldRow(const T* p, int n) : row(reinterpret_cast<const Word*>(p), kWords ? n / 2 : n) {}
  __device__ void get(int k, int i, compute_t<T> (&e)[V]) const {
    if constexpr (kWords) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const std::uint32_t word = row.v[k].v[j / 2], bits = j % 2 == 0 ? word << 16 : word & 0xffff0000U;
        memcpy(&e[j], &bits, sizeof bits);
      }
    } else {
      row.get(k, i, e);
    }
  }
  // Becomes itself + gate · other, gate null: 1, and is written to `to` (as rows.h's).
  __device__ void add(const T* other, const T* gate, T* to, int n) {
    if constexpr (kWords) {
      const HeldRow o(other, n);
      L::template each<V>(n, [&](int k, int i) {
        float mine[V], theirs[V], by[V];
        get(k, i, mine);
        o.get(k, i, theirs);
        if (gate != nullptr) load_some<V>(gate + i, by);
#pragma unroll
        for (int j = 0; j < V; ++j)
          mine[j] = gate != nullptr ? std::fma(by[j], theirs[j], mine[j]) : mine[j] + theirs[j];
        row.v[k] = words_of(mine);
        store_lane(reinterpret_cast<Word*>(to + i), row.v[k]);
      });
    } else {
      row.add(other, gate, to, n);
    }
  }
  static __device__ void store(T* p, const compute_t<T> (&e)[V]) {
    if constexpr (kWords)
      store_lane(reinterpret_cast<Word*>(p), words_of(e));
    else
      store_some<V>(p, e);
  }
  static __device__ Lane<std::uint32_t, (V + 1) / 2> words_of(const compute_t<T> (&e)[V]) {
    Lane<std::uint32_t, (V + 1) / 2> words;
#pragma unroll
    for (int j = 0; j < V; j += 2) words.v[j / 2] = pack_pair(e[j], e[j + 1]);
    return words;
  }
};

// Parameters of the columns that a thread has. Where its V columns are wider than 16 bytes, lanes would read them from
// the same banks: they stay in registers over all its rows. Others are read again at each row, from the first cache.
template <class W, class L, int V>
struct ColumnValues {
  using C = compute_t<W>;
  static constexpr bool kHeld = L::kPacks > 0 && V * sizeof(W) > 16;
  const W* memory;
  C held[kHeld ? L::kPacks : 1][V];
  __device__ ColumnValues(const W* p, int n) : memory(p) {
    if constexpr (kHeld) each_held<L, V>(n, [&](int k, int i) { read(i, p != nullptr ? n : 0, held[k]); });
  }
  __device__ void get(int k, int i, int n, C (&e)[V]) const {
    if constexpr (kHeld)
      for (int j = 0; j < V; ++j) e[j] = held[k][j];
    else
      read(i, n, e);
  }

 private:
  __device__ void read(int i, int n, C (&e)[V]) const {
    if (i < n)
      load_some<V>(memory + i, e);
    else
      for (int j = 0; j < V; ++j) e[j] = 0;
  }
};

// Threads that a multiprocessor holds, by the registers that one needs: for streamed rows, for up to 32 bytes of a
// row a thread, and for more.
template <class T, class L>
constexpr int resident_threads(int streamed, int few, int many) {
  return L::kPacks == 0 ? streamed : L::kPacks * L::template width<T> * sizeof(T) <= 32 ? few : many;
}
template <class T, class L>
inline constexpr int kForwardResident = resident_threads<T, L>(1536, 1024, 384);
template <class T, class L>
inline constexpr int kBackwardResident = resident_threads<T, L>(1024, 768, 256);
template <class L>
inline constexpr int kMostThreads = std::is_same_v<typename L::Group, WarpGroup> ? 128 : 256;

// T: of the rows, W: of the parameters, L: how a row lies on threads (rows.h). The next row is on its way while a row
// is worked on; beyond the last one there are rows of no elements. y null: the sum alone.
template <class T, class W, class L, bool adds>
__global__ void __launch_bounds__(kMostThreads<L>, kForwardResident<T, L> / kMostThreads<L>)
    layer_norm_rows(const T* x, AddedBranch<T> added, const W* w, const W* b, T* y, compute_t<T>* mean,
                    compute_t<T>* rstd, std::int64_t rows, int n, compute_t<T> eps) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  const C inv_n = C(1) / static_cast<C>(n);
  const ColumnValues<W, L, V> weights(w, n), biases(b, n);
  const auto row = [&](std::int64_t r) { return HeldRow<T, L>(x + r * n, r < rows ? n : 0); };
  HeldRow<T, L> next = row(L::first());
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    HeldRow<T, L> p = next;
    next = row(r + L::count());
    if constexpr (adds) {
      p.add(added.branch + r * n, added.gate, added.sum + r * n, n);
      if (y == nullptr) continue;
    }
    C s = 0, ss = 0, rest = 0;
    each_held<L, V>(n, [&](int k, int i) {
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
    each_held<L, V>(n, [&](int k, int i) {
      C e[V], weight[V], bias[V];
      p.get(k, i, e);
      weights.get(k, i, n, weight);
      biases.get(k, i, n, bias);
      for (int j = 0; j < V; ++j) e[j] = (e[j] - m) * rs * weight[j] + bias[j];
      if (i < n) HeldRow<T, L>::store(q + i, e);
    });
  }
}

// Sums for dw and db over the rows that a thread has seen, of the columns it has: in registers, or for streamed rows in
// memory.
template <class C, class L, int V>
struct ColumnSums {
  static constexpr bool kHeld = L::kPacks > 0;
  C of_w[kHeld ? L::kPacks : 1][V], of_b[kHeld ? L::kPacks : 1][V];
  C* memory;  // [2, n], this block's: each column belongs to one thread; null: nobody wants them
  __device__ ColumnSums(C* at, int n) : memory(at) {
    if constexpr (kHeld) {
#pragma unroll
      for (int k = 0; k < L::kPacks; ++k)
        for (int j = 0; j < V; ++j) of_w[k][j] = of_b[k][j] = 0;
    } else if (memory != nullptr) {
      for (int i = L::rank(); i < n; i += L::size()) memory[i] = memory[n + i] = 0;
    }
  }
  __device__ void add(int k, int i, int j, int n, C w, C b) {
    if constexpr (kHeld) {
      of_w[k][j] += w;
      of_b[k][j] += b;
    } else if (memory != nullptr) {
      memory[i] += w;
      memory[n + i] += b;
    }
  }
  // Into memory; where warps have rows of their own, by way of `shared`, [warps, padded(2 n)].
  __device__ void finish(int n, C* shared) {
    if (!kHeld || memory == nullptr) return;
    if constexpr (std::is_same_v<typename L::Group, WarpGroup>) {
      const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
      C* const mine = shared + warp * padded(2 * n);
      L::template each<V>(n, [&](int k, int i) {
        for (int j = 0; j < V; ++j) mine[padded(i) + j] = of_w[k][j];
        for (int j = 0; j < V; ++j) mine[padded(n + i) + j] = of_b[k][j];
      });
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < 2 * n; i += static_cast<int>(blockDim.x)) {
        C s = shared[padded(i)];
        for (int other = 1; other < warps; ++other) s += shared[other * padded(2 * n) + padded(i)];
        memory[i] = s;
      }
    } else {
      L::template each<V>(n, [&](int k, int i) {
        store_some<V>(memory + i, of_w[k]);
        store_some<V>(memory + n + i, of_b[k]);
      });
    }
  }
  // One place left free after 32: lanes that write at a stride of V reach all banks.
  static __device__ constexpr int padded(int i) { return i + i / kWarp; }
};
// Elements of dynamic shared memory for it.
template <class L>
constexpr int shared_of_sums(int threads, int n) {
  return std::is_same_v<typename L::Group, WarpGroup> ? threads / kWarp * (2 * n + 2 * n / kWarp) : 0;
}

// What the backward reads of a row; of one beyond the last nothing.
template <class T, class L>
struct RowAndGradient {
  HeldRow<T, L> x, dy;
  compute_t<T> mean = 0, rstd = 0;
};

// dx absent: null. sums: [blocks, 2, n] for dw and db, or null. Dynamic shared memory: shared_of_sums where sums are
// wanted.
template <class T, class W, class L>
__global__ void __launch_bounds__(kMostThreads<L>, kBackwardResident<T, L> / kMostThreads<L>)
    layer_norm_bwd_rows(const T* x, const W* w, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy, T* dx,
                        compute_t<T>* sums, std::int64_t rows, int n) {
  using C = compute_t<T>;
  constexpr int V = L::template width<T>;
  SPN_DYNAMIC_SHARED(C, shared);
  const C inv_n = C(1) / static_cast<C>(n);
  const ColumnValues<W, L, V> weights(w, n);
  ColumnSums<C, L, V> columns(sums == nullptr ? nullptr : sums + static_cast<std::int64_t>(blockIdx.x) * 2 * n, n);
  const auto row = [&](std::int64_t r) {
    const bool there = r < rows;
    return RowAndGradient<T, L>{
        {x + r * n, there ? n : 0}, {dy + r * n, there ? n : 0}, there ? mean[r] : C(0), there ? rstd[r] : C(0)};
  };
  RowAndGradient<T, L> next = row(L::first());
  for (std::int64_t r = L::first(); r < rows; r += L::count()) {
    const RowAndGradient<T, L> p = next;
    next = row(r + L::count());
    const C m = p.mean, rs = p.rstd;
    C s1 = 0, s2 = 0;
    each_held<L, V>(n, [&](int k, int i) {
      C e[V], d[V], weight[V];
      p.x.get(k, i, e);
      p.dy.get(k, i, d);
      weights.get(k, i, n, weight);
      for (int j = 0; j < V; ++j) {
        const C normal = (e[j] - m) * rs;
        columns.add(k, i, j, n, d[j] * normal, d[j]);
        s1 += d[j] * weight[j];
        s2 += d[j] * weight[j] * normal;
      }
    });
    if (dx == nullptr) continue;
    s1 = L::reduce(s1, Sum{}, C(0)) * inv_n;
    s2 = L::reduce(s2, Sum{}, C(0)) * inv_n;
    T* q = dx + r * n;
    each_held<L, V>(n, [&](int k, int i) {
      C e[V], d[V], weight[V];
      p.x.get(k, i, e);
      p.dy.get(k, i, d);
      weights.get(k, i, n, weight);
      for (int j = 0; j < V; ++j) e[j] = rs * (d[j] * weight[j] - s1 - (e[j] - m) * rs * s2);
      if (i < n) HeldRow<T, L>::store(q + i, e);
    });
  }
  columns.finish(n, shared);
}

// dw and db (either may be null) of sums [parts, 2, n]: 32 columns and as many lines of parts a block.
inline constexpr int kJoinThreads = kWarp * kWarp;
template <class C, class W>
__global__ void __launch_bounds__(kJoinThreads)
    layer_norm_join(const C* sums, W* dw, W* db, std::int64_t parts, int n) {
  SPN_SHARED(C, lines, kWarp * (kWarp + 1));  // a column apart, so that a warp reads 32 banks
  const int lane = static_cast<int>(threadIdx.x) % kWarp, line = static_cast<int>(threadIdx.x) / kWarp;
  for (int first = static_cast<int>(blockIdx.x) * kWarp; first < 2 * n; first += static_cast<int>(gridDim.x) * kWarp) {
    C s = 0;
    if (first + lane < 2 * n)
#pragma unroll 8
      for (std::int64_t p = line; p < parts; p += kWarp) s += sums[p * 2 * n + first + lane];
    lines[line * (kWarp + 1) + lane] = s;
    __syncthreads();
    s = warp_reduce(lines[lane * (kWarp + 1) + line], Sum{});
    const int c = first + line;
    W* const to = c < n ? dw : db;
    if (lane == 0 && c < 2 * n && to != nullptr) to[c < n ? c : c - n] = convert<W>(s);
    __syncthreads();
  }
}

}  // namespace spn::kernels::cuda
