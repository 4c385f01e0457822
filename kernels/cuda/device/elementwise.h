// y[i] = f(x0[i], x1[i], …): contiguous runs 16 bytes at a time, or any strides.
#pragma once

#include "kernels/cuda/device/rows.h"
#include "kernels/cuda/device/strided.h"
#include "kernels/math/unary.h"

namespace spn::kernels::cuda {

template <class T, int N>
struct Inputs {
  const T* p[N];
};

template <class T, int N, class F>
__global__ void map_flat(T* y, Inputs<T, N> x, std::int64_t n, F f) {
  constexpr int kPack = Pack<T>::n;
  const std::int64_t packs = n / kPack;
  for (std::int64_t i = global_thread(); i < packs; i += all_threads()) {
    Pack<T> in[N], out;
    for (int v = 0; v < N; ++v) in[v] = load_pack(x.p[v] + i * kPack);
    for (int k = 0; k < kPack; ++k) {
      compute_t<T> e[N];
      for (int v = 0; v < N; ++v) e[v] = load(in[v].v[k]);
      out.v[k] = convert<T>(f(e));
    }
    store_pack(y + i * kPack, out);
  }
  const std::int64_t rest = packs * kPack + global_thread();  // fewer than a block's threads
  if (rest < n) {
    compute_t<T> e[N];
    for (int v = 0; v < N; ++v) e[v] = load(x.p[v][rest]);
    y[rest] = convert<T>(f(e));
  }
}

template <class T, int N, class F>
__global__ void map_strided(T* y, Inputs<T, N> x, Strided<N + 1> s, F f) {
  for (std::int64_t i = global_thread(); i < s.numel; i += all_threads()) {
    std::int64_t at[N + 1];
    s.offsets(i, at);
    compute_t<T> e[N];
    for (int v = 0; v < N; ++v) e[v] = load(x.p[v][at[v + 1]]);
    y[at[0]] = convert<T>(f(e));
  }
}

// Runs of packs in any strides, s in packs: a vector beside many rows, a value beside each run.
template <class T, int N, class F>
__global__ void map_packs(T* y, Inputs<T, N> x, Strided<N + 1> s, F f) {
  constexpr int kPack = Pack<T>::n;
  for (std::int64_t i = global_thread(); i < s.numel; i += all_threads()) {
    std::int64_t at[N + 1];
    s.offsets(i, at);
    compute_t<T> in[N][kPack];
    for (int v = 0; v < N; ++v) {
      if (s.stride[v + 1][s.dims - 1] != 0) {
        load_some<kPack>(x.p[v] + at[v + 1], in[v]);
      } else {
        const compute_t<T> one = load(x.p[v][at[v + 1]]);
        for (int k = 0; k < kPack; ++k) in[v][k] = one;
      }
    }
    compute_t<T> out[kPack];
    for (int k = 0; k < kPack; ++k) {
      compute_t<T> e[N];
      for (int v = 0; v < N; ++v) e[v] = in[v][k];
      out[k] = f(e);
    }
    store_some<kPack>(y + at[0], out);
  }
}

// T: of the arrays. GELU in bf16 would wait for its arithmetic rather than for memory if it were as exact as in float.
template <UnaryOp op, class T>
struct UnaryValue {
  static constexpr bool kBrief = op == UnaryOp::gelu && std::is_same_v<T, bf16>;
  using C = compute_t<T>;
  __device__ C operator()(const C (&e)[1]) const {
    if constexpr (kBrief)
      return brief_gelu(e[0]);
    else
      return unary_value<op>(e[0]);
  }
};
// x, y, dy
template <UnaryOp op, class T>
struct UnaryGradient {
  using C = compute_t<T>;
  __device__ C operator()(const C (&e)[3]) const {
    if constexpr (UnaryValue<op, T>::kBrief)
      return brief_gelu_derivative(e[0]) * e[2];
    else
      return unary_derivative<op>(e[0], e[1]) * e[2];
  }
};
template <BinaryOp op, class C>
struct BinaryValue {
  __device__ C operator()(const C (&e)[2]) const { return binary_value<op>(e[0], e[1]); }
};
template <class C>
struct AffineValue {
  C mul, add;
  __device__ C operator()(const C (&e)[1]) const { return mul * e[0] + add; }
};

// y = x: the conversions that training makes all the time, and moves of whole elements of 1, 2, 4 or 8 bytes. As many
// elements at a time as fill 16 bytes of the narrower.
template <class To, class From>
inline constexpr int kCopyPack = Pack<To>::n > Pack<From>::n ? Pack<To>::n : Pack<From>::n;

template <int V, class To, class From>
__device__ inline void copy_some(To* y, const From* x) {
  compute_t<From> e[V];
  load_some<V>(x, e);
  store_some<V>(y, e);
}
template <class To, class From>
__global__ void copy_flat(To* y, const From* x, std::int64_t n) {
  constexpr int V = kCopyPack<To, From>;
  const std::int64_t packs = n / V;
  for (std::int64_t i = global_thread(); i < packs; i += all_threads()) copy_some<V>(y + i * V, x + i * V);
  const std::int64_t rest = packs * V + global_thread();  // fewer than a block's threads
  if (rest < n) y[rest] = convert<To>(x[rest]);
}
// Runs of packs, s in packs.
template <class To, class From>
__global__ void copy_packs(To* y, const From* x, Strided<2> s) {
  for (std::int64_t i = global_thread(); i < s.numel; i += all_threads()) {
    std::int64_t at[2];
    s.offsets(i, at);
    copy_some<kCopyPack<To, From>>(y + at[0], x + at[1]);
  }
}
template <class To, class From>
__global__ void copy_strided(To* y, const From* x, Strided<2> s) {
  for (std::int64_t i = global_thread(); i < s.numel; i += all_threads()) {
    std::int64_t at[2];
    s.offsets(i, at);
    y[at[0]] = convert<To>(x[at[1]]);
  }
}

// Element i of an array whose dtype is known when the kernel runs: through double, or int64 between integers.
__device__ inline bool is_integer(DType t) { return t == DType::i32 || t == DType::i64 || t == DType::u8; }
template <class V>
__device__ inline V get(const void* p, DType t, std::int64_t i) {
  switch (t) {
    case DType::f32: return static_cast<V>(static_cast<const float*>(p)[i]);
    case DType::f64: return static_cast<V>(static_cast<const double*>(p)[i]);
    case DType::bf16: return static_cast<V>(load(static_cast<const bf16*>(p)[i]));
    case DType::i32: return static_cast<V>(static_cast<const std::int32_t*>(p)[i]);
    case DType::i64: return static_cast<V>(static_cast<const std::int64_t*>(p)[i]);
    case DType::u8: return static_cast<V>(static_cast<const std::uint8_t*>(p)[i]);
  }
  return V(0);
}
template <class V>
__device__ inline void put(void* p, DType t, std::int64_t i, V v) {
  switch (t) {
    case DType::f32: static_cast<float*>(p)[i] = static_cast<float>(v); break;
    case DType::f64: static_cast<double*>(p)[i] = static_cast<double>(v); break;
    case DType::bf16: static_cast<bf16*>(p)[i] = convert<bf16>(static_cast<float>(v)); break;
    case DType::i32: static_cast<std::int32_t*>(p)[i] = static_cast<std::int32_t>(v); break;
    case DType::i64: static_cast<std::int64_t*>(p)[i] = static_cast<std::int64_t>(v); break;
    case DType::u8: static_cast<std::uint8_t*>(p)[i] = static_cast<std::uint8_t>(v); break;
  }
}
// Any dtype to any: slow and small; x null: y = value.
[[maybe_unused]] static __global__ void copy_any(void* y, DType to, const void* x, DType from, Strided<2> s,
                                                 double value) {
  for (std::int64_t i = global_thread(); i < s.numel; i += all_threads()) {
    std::int64_t at[2];
    s.offsets(i, at);
    if (x == nullptr)
      put(y, to, at[0], value);
    else if (is_integer(to) && is_integer(from))
      put(y, to, at[0], get<std::int64_t>(x, from, at[1]));
    else
      put(y, to, at[0], get<double>(x, from, at[1]));
  }
}

}  // namespace spn::kernels::cuda
