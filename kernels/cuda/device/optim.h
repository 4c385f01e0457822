// Optimiser updates over many tensors: blocks share out fixed chunks of all of them, so that a thousand small tensors
// cost as much as one large, and each element is read and written once.
#pragma once

#include <cmath>

#include "kernels/cuda/device/rows.h"
#include "kernels/math/optim.h"

namespace spn::kernels::cuda {

inline constexpr std::int64_t kTensorChunk = 8192;

// Tensors that one launch takes along as its argument; a captured step keeps it.
template <int pointers>
struct TensorTable {
  static constexpr int kMost = 256;
  int count = 0;
  void* p[kMost][pointers];
  std::int64_t size[kMost];
  double scale[kMost][2];         // what the update does with them is its own
  std::int64_t first[kMost + 1];  // chunk of each tensor; the last: all
  bool packs[kMost];              // all pointers are fit for 16-byte access

  __device__ int tensor_of(std::int64_t chunk) const {
    int low = 0, high = count - 1;  // the last whose first chunk is not beyond it; empty tensors have no chunk
    while (low < high) {
      const int mid = (low + high + 1) / 2;
      if (first[mid] <= chunk)
        low = mid;
      else
        high = mid - 1;
    }
    return low;
  }
};

// Chunks [begin, end) of tensors, one block at a time: f(i, begin, end).
template <class Table, class F>
__device__ inline void over_chunks(const Table& t, F&& f) {
  for (std::int64_t chunk = blockIdx.x; chunk < t.first[t.count]; chunk += gridDim.x) {
    const int i = t.tensor_of(chunk);
    const std::int64_t begin = (chunk - t.first[i]) * kTensorChunk, end = begin + kTensorChunk;
    f(i, begin, end < t.size[i] ? end : t.size[i]);
  }
}

// What an update makes of its rates, once: every block reads it.
struct UpdateScalars {
  double lr, weight_decay, grad_scale, correction1, root2;
  bool finite, first;
};
inline constexpr double kLargest = 1.7976931348623157e308;
// rates [2]: learning rate, weight decay. updates: how many there were; one thread adds this one.
[[maybe_unused]] static __global__ void read_rates(const double* rates, double* updates, const double* squares,
                                                   double max_norm, double beta1, double beta2, UpdateScalars* out) {
  const double norm = std::sqrt(squares[0]), t = updates[0] + 1;
  const bool finite = norm <= kLargest;  // neither infinite nor NaN
  if (finite) updates[0] = t;
  out->lr = rates[0];
  out->weight_decay = rates[1];
  out->grad_scale = clip_scale(norm, max_norm);
  out->correction1 = 1 - std::pow(beta1, t);
  out->root2 = std::sqrt(1 - std::pow(beta2, t));
  out->finite = finite;
  out->first = !(t > 1);
}

// Updates have kPointers tensors, the first kTyped of them of type T, of which the first kWritten change, and Constants
// of a tensor.
template <class T>
struct AdamWUpdate {
  static constexpr int kPointers = 5, kTyped = 4, kWritten = 3;  // w, m, v; grad; w rounded to bf16, or null
  double beta1, beta2, eps;
  struct Constants {
    T keep, scale, new1, beta2, new2, root2, eps, rate;
  };
  __device__ Constants constants(const UpdateScalars& s, const double* scale) const {
    const double lr = s.lr * scale[1];
    return {static_cast<T>(1 - lr * s.weight_decay * scale[0]),
            static_cast<T>(s.grad_scale),
            static_cast<T>(1 - beta1),
            static_cast<T>(beta2),
            static_cast<T>(1 - beta2),
            static_cast<T>(s.root2),
            static_cast<T>(eps),
            static_cast<T>(lr / s.correction1)};
  }
  static __device__ void apply(const Constants& c, T& w, T& m, T& v, T grad) {
    const T g = grad * c.scale;
    m += c.new1 * (g - m);
    v = v * c.beta2 + c.new2 * g * g;
    w = w * c.keep - c.rate * (m / (std::sqrt(v) / c.root2 + c.eps));
  }
};
template <class T>
struct SgdUpdate {
  static constexpr int kPointers = 3, kTyped = 3, kWritten = 2;  // w, momentum; grad
  double momentum;
  struct Constants {
    T scale, decay, momentum, rate;
  };
  __device__ Constants constants(const UpdateScalars& s, const double* scale) const {
    return {static_cast<T>(s.grad_scale), static_cast<T>(s.weight_decay * scale[0]),
            static_cast<T>(s.first ? 0 : momentum), static_cast<T>(s.lr * scale[1])};
  }
  static __device__ void apply(const Constants& c, T& w, T& buf, T grad) {
    buf = c.momentum * buf + (grad * c.scale + c.decay * w);
    w -= c.rate * buf;
  }
};
template <class T>
struct LerpUpdate {
  static constexpr int kPointers = 2, kTyped = 2, kWritten = 1;  // y; x
  double weight;
  struct Constants {
    T part;
  };
  __device__ Constants constants(const UpdateScalars&, const double*) const { return {static_cast<T>(weight)}; }
  static __device__ void apply(const Constants& c, T& y, T x) { y += c.part * (x - y); }
};

// 8 bytes at once for the four floats that 16 hold.
template <int V, class C>
__device__ inline void store_rounded(bf16* p, const C (&e)[V]) {
  if constexpr (V == 4) {
    std::uint64_t bits = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) bits |= static_cast<std::uint64_t>(convert<bf16>(e[j]).bits) << (16 * j);
    *reinterpret_cast<std::uint64_t*>(p) = bits;
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j) p[j] = convert<bf16>(e[j]);
  }
}

template <int V, class T, class Update>
__device__ inline void update_run(void* const* p, std::int64_t begin, std::int64_t end,
                                  const typename Update::Constants& c) {
  constexpr int N = Update::kTyped;
#pragma unroll 2
  for (std::int64_t i = begin + threadIdx.x * V; i < end; i += static_cast<std::int64_t>(blockDim.x) * V) {
    T e[N][V];
#pragma unroll
    for (int k = 0; k < N; ++k) load_some<V>(static_cast<const T*>(p[k]) + i, e[k]);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if constexpr (N == 4)
        Update::apply(c, e[0][j], e[1][j], e[2][j], e[3][j]);
      else if constexpr (N == 3)
        Update::apply(c, e[0][j], e[1][j], e[2][j]);
      else
        Update::apply(c, e[0][j], e[1][j]);
    }
#pragma unroll
    for (int k = 0; k < Update::kWritten; ++k) store_some<V>(static_cast<T*>(p[k]) + i, e[k]);
    if constexpr (Update::kPointers > N)
      if (p[N] != nullptr) store_rounded<V>(static_cast<bf16*>(p[N]) + i, e[0]);
  }
}

// scalars, squares null: the update has none. Gradients that are not finite change nothing.
template <class T, class Update>
__global__ void update_tensors(const __grid_constant__ TensorTable<Update::kPointers> table, const Update update,
                               const UpdateScalars* scalars, const double* squares) {
  const UpdateScalars s = scalars == nullptr ? UpdateScalars{} : *scalars;
  if ((scalars != nullptr && !s.finite) || (squares != nullptr && !(*squares <= kLargest))) return;
  constexpr int kWidth = Pack<T>::n;
  over_chunks(table, [&](int i, std::int64_t begin, std::int64_t end) {
    const typename Update::Constants c = update.constants(s, table.scale[i]);
    std::int64_t rest = begin;
    if (table.packs[i]) {
      rest = begin + (end - begin) / kWidth * kWidth;
      update_run<kWidth, T, Update>(table.p[i], begin, rest, c);
    }
    update_run<1, T, Update>(table.p[i], rest, end, c);
  });
}

// Σ x² of a chunk a block, in double: partial[chunk]. scale[i][0]: the dtype.
template <class T>
__device__ inline double squares_of(const T* p, bool packs, std::int64_t begin, std::int64_t end) {
  constexpr int kWidth = Pack<T>::n;
  double sum = 0;
  std::int64_t rest = begin;
  if (packs) {
    rest = begin + (end - begin) / kWidth * kWidth;
#pragma unroll 4
    for (std::int64_t i = begin + threadIdx.x * kWidth; i < rest; i += static_cast<std::int64_t>(blockDim.x) * kWidth) {
      compute_t<T> e[kWidth];
      load_some<kWidth>(p + i, e);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum += static_cast<double>(e[j]) * static_cast<double>(e[j]);
    }
  }
  for (std::int64_t i = rest + threadIdx.x; i < end; i += blockDim.x) {
    const double e = static_cast<double>(load(p[i]));
    sum += e * e;
  }
  return sum;
}
[[maybe_unused]] static __global__ void squares_of_tensors(const __grid_constant__ TensorTable<1> table,
                                                           double* partial) {
  for (std::int64_t chunk = blockIdx.x; chunk < table.first[table.count]; chunk += gridDim.x) {
    const int i = table.tensor_of(chunk);
    const std::int64_t begin = (chunk - table.first[i]) * kTensorChunk, far = begin + kTensorChunk;
    const std::int64_t end = far < table.size[i] ? far : table.size[i];
    const auto dtype = static_cast<DType>(static_cast<int>(table.scale[i][0]));
    const void* p = table.p[i][0];
    double sum = 0;
    if (dtype == DType::f32)
      sum = squares_of(static_cast<const float*>(p), table.packs[i], begin, end);
    else if (dtype == DType::bf16)
      sum = squares_of(static_cast<const bf16*>(p), table.packs[i], begin, end);
    else
      sum = squares_of(static_cast<const double*>(p), table.packs[i], begin, end);
    sum = block_reduce(sum, Sum{}, 0.0);
    if (threadIdx.x == 0) partial[chunk] = sum;
  }
}
// One block.
[[maybe_unused]] static __global__ void __launch_bounds__(1024)
    join_squares(const double* partial, std::int64_t n, double* out) {
  double sum = 0;
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
  sum = block_reduce(sum, Sum{}, 0.0);
  if (threadIdx.x == 0) out[0] = sum;
}

}  // namespace spn::kernels::cuda
