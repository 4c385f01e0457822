// c [m,n] = Σ_k a[m,k] · b[k,n] where k is long and m and n are few: what a library's tiles would walk in one block.
// Threads keep all sums in registers, in double, over their rows; blocks leave theirs for one more block to add, in an
// order that the device's size decides alone.
#pragma once

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

inline constexpr int kThinM = 8, kThinN = 2, kThinThreads = 256;

struct ThinGemm {
  std::int64_t k = 0, a_m = 1, a_k = 1, b_k = 1, b_n = 1, c_m = 1, c_n = 1;
  int m = 1, n = 1;
};
// Sums a thread keeps: a column of products for each n, then a's own.
inline constexpr int kThinSums = kThinM * (kThinN + 1);

// Packed: a's m values of one k are kThinM adjacent ones, aligned.
template <class T, bool packed>
__device__ inline void thin_row(const T* a, const ThinGemm& s, std::int64_t k, double (&v)[kThinM]) {
  if constexpr (packed) {
    constexpr int kWidth = Pack<T>::n < kThinM ? Pack<T>::n : kThinM;
#pragma unroll
    for (int p = 0; p < kThinM / kWidth; ++p) {
      const Pack<T> q = load_pack(a + k * kThinM + p * kWidth);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) v[p * kWidth + j] = static_cast<double>(load(q.v[j]));
    }
  } else {
#pragma unroll
    for (int i = 0; i < kThinM; ++i) v[i] = i < s.m ? static_cast<double>(load(a[i * s.a_m + k * s.a_k])) : 0.0;
  }
}

// partial [blocks, kThinSums].
template <class T, bool packed>
__global__ void __launch_bounds__(kThinThreads) thin_parts(const T* a, const T* b, double* partial, ThinGemm s) {
  double sum[kThinSums];
#pragma unroll
  for (int i = 0; i < kThinSums; ++i) sum[i] = 0;
  for (std::int64_t k = global_thread(); k < s.k; k += all_threads()) {
    double v[kThinM];
    thin_row<T, packed>(a, s, k, v);
#pragma unroll
    for (int j = 0; j < kThinN; ++j) {
      const double w = j < s.n ? static_cast<double>(load(b[k * s.b_k + j * s.b_n])) : 0.0;
#pragma unroll
      for (int i = 0; i < kThinM; ++i) sum[j * kThinM + i] += v[i] * w;
    }
#pragma unroll
    for (int i = 0; i < kThinM; ++i) sum[kThinN * kThinM + i] += v[i];
  }
#pragma unroll
  for (int i = 0; i < kThinSums; ++i) sum[i] = warp_reduce(sum[i], Sum{});
  SPN_SHARED(double, of_warp, kThinThreads / kWarp * kThinSums);
  const int me = static_cast<int>(threadIdx.x), warp = me / kWarp;
  if (me % kWarp == 0)
#pragma unroll
    for (int i = 0; i < kThinSums; ++i) of_warp[warp * kThinSums + i] = sum[i];
  __syncthreads();
  if (me >= kThinSums) return;
  double total = 0;
  for (int w = 0; w < kThinThreads / kWarp; ++w) total += of_warp[w * kThinSums + me];
  partial[static_cast<std::int64_t>(blockIdx.x) * kThinSums + me] = total;
}

// One block, a warp a sum; sums may be absent.
template <class Y>
__global__ void thin_join(const double* partial, int blocks, Y* c, Y* sums, ThinGemm s) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, i = static_cast<int>(threadIdx.x) / kWarp;
  double total = 0;
  for (int b = lane; b < blocks; b += kWarp) total += partial[static_cast<std::int64_t>(b) * kThinSums + i];
  total = warp_reduce(total, Sum{});
  const int row = i % kThinM, column = i / kThinM;
  if (lane != 0 || row >= s.m) return;
  if (column < s.n)
    c[row * s.c_m + column * s.c_n] = convert<Y>(total);
  else if (column == kThinN && sums != nullptr)
    sums[row] = convert<Y>(total);
}

}  // namespace spn::kernels::cuda
