// What every device kernel starts from: CUDA's language or, for tests, its meaning on the host; loads, stores, and sums
// over warps and blocks. Kernels are written against this header and math/ alone, free of host API.
#pragma once

#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#define SPN_SHARED(T, name, n) __shared__ T name[n]
#define SPN_DYNAMIC_SHARED(T, name)                            \
  extern __shared__ __align__(16) unsigned char spn_shared_[]; \
  T* const name = reinterpret_cast<T*>(spn_shared_)
#else
#include <cuda_on_host.h>  // tests/support/emulator: on the path of the emulated build alone
#endif

#include "engine/core/dtype.h"

namespace spn::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

// What a kernel computes in: bf16 is loaded to and stored from float, the others are themselves.
template <class T>
using compute_t = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class T>
__device__ inline compute_t<T> load(const T& v) {
  if constexpr (std::is_same_v<T, bf16>) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(static_cast<unsigned>(v.bits) << 16);
#else
    return static_cast<float>(v);
#endif
  } else {
    return v;
  }
}

template <class To, class From>
__device__ inline To convert(From v) {
  if constexpr (std::is_same_v<To, From>) {
    return v;
  } else if constexpr (std::is_same_v<To, bf16>) {
#ifdef __CUDA_ARCH__
    bf16 r;
    r.bits = __bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(v)));
    return r;
#else
    return bf16(static_cast<float>(v));
#endif
  } else if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<To>(load(v));
  } else {
    return static_cast<To>(v);
  }
}

// 16 bytes of T: one memory instruction. Pointers must be aligned to it.
template <class T>
struct alignas(16) Pack {
  static constexpr int n = 16 / static_cast<int>(sizeof(T));
  T v[n];
};
template <class T>
__device__ inline Pack<T> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
__device__ inline void store_pack(T* p, const Pack<T>& v) {
  *reinterpret_cast<Pack<T>*>(p) = v;
}

// v to p, aligned to its size of 8 or 16 bytes, by one instruction. nvcc splits a store of values that were computed
// one by one into as many stores, which reach the cache in parts of sectors; what is said in PTX stays whole.
template <class V>
__device__ inline void store_whole(void* p, const V& v) {
  static_assert(sizeof(V) == 8 || sizeof(V) == 16);
#ifdef __CUDA_ARCH__
  unsigned w[sizeof(V) / 4];
  memcpy(w, &v, sizeof v);
  if constexpr (sizeof(V) == 16)
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
                 : "memory");
  else
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(p), "r"(w[0]), "r"(w[1]) : "memory");
#else
  *static_cast<V*>(p) = v;
#endif
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;  // NaN wins (reduce's own maximum leaves it out, as on the CPU)
  }
};

// All 32 lanes take part; every lane gets the result, the same on all of them.
template <class Op, class T>
__device__ inline T warp_reduce(T v, Op op) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) v = op(v, __shfl_xor_sync(kAllLanes, v, distance));
  return v;
}

// All threads of a one-dimensional block of whole warps take part; every thread gets the result. May be called again
// at once: it ends with a barrier.
template <class Op, class T>
__device__ inline T block_reduce(T v, Op op, T identity) {
  SPN_SHARED(T, of_warp, kWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  v = warp_reduce(v, op);
  if (lane == 0) of_warp[warp] = v;
  __syncthreads();
  v = warp_reduce(lane < warps ? of_warp[lane] : identity, op);
  __syncthreads();
  return v;
}

// Neither infinite nor NaN: of both, the difference from itself is NaN.
__device__ inline bool is_finite(double v) { return v - v == 0; }

__device__ inline std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t all_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

}  // namespace spn::kernels::cuda
