// Batch norm over channels-last rows: one pass over memory a kernel, sums in f64 (x² of an fp32 is exact there), folded
// in a fixed order.
#pragma once

#include "kernels/cuda/device/columns.h"

namespace spn::kernels::cuda {

inline constexpr int kRowsAhead = 4;  // rows whose loads a thread has in flight

// Σx and Σx² a channel, from the last row on.
template <class T, int V>
__global__ void batch_norm_sums(double* partial, const T* x, Columns w) {
  const ColumnPlace<V> at(w);
  double s[V] = {}, q[V] = {};
  if (at.active)
    for (std::int64_t r = at.first_row; r < at.rows; r += kRowsAhead * at.step) {
      Lane<T, V> in[kRowsAhead] = {};
#pragma unroll
      for (int u = 0; u < kRowsAhead; ++u)
        if (r + u * at.step < at.rows)
          in[u] = *reinterpret_cast<const Lane<T, V>*>(x + at.offset_from_end(r + u * at.step));
#pragma unroll
      for (int u = 0; u < kRowsAhead; ++u)
        for (int k = 0; k < V; ++k) {
          const double v = static_cast<double>(load(in[u].v[k]));
          s[k] += v;
          q[k] += v * v;
        }
    }
  store_block_sums<V>(w, at, s, q, partial);
}

// What comes of a channel's two sums in the backward pass: with mean and rstd Σ g·x̂ from Σ g·x, and the gradients of w
// and b, where they are wanted.
template <class A>
struct BatchNormFold {
  const A *mean, *rstd;
  A *dw, *db;
};

// sums [2, channels] from partial [parts, 2, channels]. 32 channels a block, 32 threads a channel.
template <class A>
__global__ void __launch_bounds__(1024)
    batch_norm_fold(double* sums, const double* partial, int parts, std::int64_t channels, BatchNormFold<A> to) {
  SPN_SHARED(double, part, 2 * kWarp * kWarp);
  const int column = static_cast<int>(threadIdx.x) % kWarp, share = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kWarp + column;
  double s = 0, q = 0;
  if (c < channels)
    for (int p = share; p < parts; p += kWarp) {
      s += partial[static_cast<std::int64_t>(p) * 2 * channels + c];
      q += partial[(static_cast<std::int64_t>(p) * 2 + 1) * channels + c];
    }
  part[share * kWarp + column] = s;
  part[(kWarp + share) * kWarp + column] = q;
  __syncthreads();
  if (share != 0 || c >= channels) return;
  for (int k = 1; k < kWarp; ++k) {
    s += part[k * kWarp + column];
    q += part[(kWarp + k) * kWarp + column];
  }
  if (to.mean != nullptr) q = static_cast<double>(to.rstd[c]) * (q - static_cast<double>(to.mean[c]) * s);
  sums[c] = s;
  sums[channels + c] = q;
  if (to.dw != nullptr) to.dw[c] = static_cast<A>(q);
  if (to.db != nullptr) to.db[c] = static_cast<A>(s);
}

// y = a·x + k, the folded affine map of a channel.
template <class A>
struct ChannelAffine {
  A a, k;
  __device__ ChannelAffine(A mean, A rstd, A w, A b) {
    const double slope = static_cast<double>(w) * static_cast<double>(rstd);
    a = static_cast<A>(slope);
    k = static_cast<A>(static_cast<double>(b) - static_cast<double>(mean) * slope);
  }
};

template <class A>
struct BatchNormVectors {
  const double* sums;  // null: the running statistics are used
  A *running_mean, *running_var;
  const A *w, *b;
  A *mean, *rstd;
};
struct BatchNormNumbers {
  double count, eps, momentum;
  bool update_running, relu;
};

template <class T, int V>
__global__ void batch_norm_map(T* y, const T* x, const T* residual, BatchNormVectors<compute_t<T>> c,
                               BatchNormNumbers n, Columns w) {
  using A = compute_t<T>;
  SPN_SHARED(A, slopes, kMostAcross * V);
  SPN_SHARED(A, shifts, kMostAcross * V);
  const ColumnPlace<V> at(w);
  for (int o = static_cast<int>(threadIdx.x); o < w.across * V; o += kColumnThreads) {
    const std::int64_t i = at.block_channel + o;
    if (i >= w.channels) break;
    double mean, var;
    if (c.sums != nullptr) {
      mean = c.sums[i] / n.count;
      var = c.sums[w.channels + i] / n.count - mean * mean;
      var = var > 0 ? var : 0;
      const double unbiased = var * n.count / (n.count - 1);
      if (n.update_running && blockIdx.x == 0 && is_finite(mean) && is_finite(unbiased)) {
        c.running_mean[i] =
            static_cast<A>((1 - n.momentum) * static_cast<double>(c.running_mean[i]) + n.momentum * mean);
        c.running_var[i] =
            static_cast<A>((1 - n.momentum) * static_cast<double>(c.running_var[i]) + n.momentum * unbiased);
      }
    } else {
      mean = static_cast<double>(c.running_mean[i]);
      var = static_cast<double>(c.running_var[i]);
    }
    const A m = static_cast<A>(mean), rstd = static_cast<A>(1 / std::sqrt(var + n.eps));
    if (blockIdx.x == 0) {
      c.mean[i] = m;
      c.rstd[i] = rstd;
    }
    const ChannelAffine<A> affine(m, rstd, c.w[i], c.b[i]);
    slopes[o] = affine.a;
    shifts[o] = affine.k;
  }
  __syncthreads();
  if (!at.active) return;
  A a[V], shift[V];
  for (int k = 0; k < V; ++k) {
    a[k] = slopes[at.lane * V + k];
    shift[k] = shifts[at.lane * V + k];
  }
  for (std::int64_t r = at.first_row; r < at.rows; r += kRowsAhead * at.step) {
    Lane<T, V> in[kRowsAhead], res[kRowsAhead];
#pragma unroll
    for (int u = 0; u < kRowsAhead; ++u)
      if (r + u * at.step < at.rows) {
        in[u] = *reinterpret_cast<const Lane<T, V>*>(x + at.offset(r + u * at.step));
        if (residual != nullptr) res[u] = *reinterpret_cast<const Lane<T, V>*>(residual + at.offset(r + u * at.step));
      }
#pragma unroll
    for (int u = 0; u < kRowsAhead; ++u)
      if (r + u * at.step < at.rows) {
        for (int k = 0; k < V; ++k) {
          A v = load(in[u].v[k]) * a[k] + shift[k];
          if (residual != nullptr) v += load(res[u].v[k]);
          if (n.relu) v = v > 0 ? v : A(0);
          in[u].v[k] = convert<T>(v);
        }
        store_lane(y + at.offset(r + u * at.step), in[u]);
      }
  }
}

// What the backward passes read a channel.
template <class A>
struct BatchNormSaved {
  const A *mean, *rstd, *w, *b;
  __device__ ChannelAffine<A> affine(std::int64_t c) const { return {mean[c], rstd[c], w[c], b[c]}; }
};

// From the last row on: g = dy where the output is positive (relu; the sign is y's, or that of the recomputed output
// where y is null); Σg and Σ g·x a channel. g may be dy's memory, or null.
template <class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 2)
    batch_norm_bwd_sums(double* partial, T* g, const T* x, const T* y, const T* dy, BatchNormSaved<compute_t<T>> c,
                        bool relu, Columns w) {
  using A = compute_t<T>;
  constexpr int kAhead = V == 8 ? 2 : kRowsAhead;  // two blocks' registers fit
  const ColumnPlace<V> at(w);
  double s[V] = {}, q[V] = {};
  if (at.active) {
    const bool from_x = relu && y == nullptr;
    A a[V] = {}, shift[V] = {};
    if (from_x)
      for (int k = 0; k < V; ++k) {
        const ChannelAffine<A> affine = c.affine(at.channel() + k);
        a[k] = affine.a;
        shift[k] = affine.k;
      }
    for (std::int64_t r = at.first_row; r < at.rows; r += kAhead * at.step) {
      Lane<T, V> in[kAhead] = {}, grad[kAhead] = {}, out[kAhead] = {};
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (r + u * at.step < at.rows) {
          in[u] = *reinterpret_cast<const Lane<T, V>*>(x + at.offset_from_end(r + u * at.step));
          grad[u] = *reinterpret_cast<const Lane<T, V>*>(dy + at.offset_from_end(r + u * at.step));
          if (relu && !from_x) out[u] = *reinterpret_cast<const Lane<T, V>*>(y + at.offset_from_end(r + u * at.step));
        }
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (r + u * at.step < at.rows) {
          for (int k = 0; k < V; ++k) {
            const A v = load(in[u].v[k]);
            A d = load(grad[u].v[k]);
            if (relu) d = (from_x ? v * a[k] + shift[k] : load(out[u].v[k])) > 0 ? d : A(0);
            s[k] += static_cast<double>(d);
            q[k] += static_cast<double>(d) * static_cast<double>(v);
            grad[u].v[k] = convert<T>(d);
          }
          if (g != nullptr) store_lane(g + at.offset_from_end(r + u * at.step), grad[u]);
        }
    }
  }
  store_block_sums<V>(w, at, s, q, partial);
}

// dx = a·g + u·x + t; dx may be g's memory. sums null: fixed statistics.
template <class T, int V>
__global__ void batch_norm_bwd_map(T* dx, const T* x, const T* g, BatchNormSaved<compute_t<T>> c, const double* sums,
                                   double count, bool relu, Columns w) {
  using A = compute_t<T>;
  SPN_SHARED(A, coefficients, 4 * kMostAcross * V);  // a, k, u, t
  constexpr int kStride = kMostAcross * V;
  const ColumnPlace<V> at(w);
  for (int o = static_cast<int>(threadIdx.x); o < w.across * V; o += kColumnThreads) {
    const std::int64_t i = at.block_channel + o;
    if (i >= w.channels) break;
    const ChannelAffine<A> affine = c.affine(i);
    double of_x = 0, rest = 0;
    if (sums != nullptr) {
      const double slope = static_cast<double>(c.w[i]) * static_cast<double>(c.rstd[i]);
      of_x = -slope * static_cast<double>(c.rstd[i]) * sums[w.channels + i] / count;
      rest = -slope * sums[i] / count - of_x * static_cast<double>(c.mean[i]);
    }
    coefficients[o] = affine.a;
    coefficients[kStride + o] = affine.k;
    coefficients[2 * kStride + o] = static_cast<A>(of_x);
    coefficients[3 * kStride + o] = static_cast<A>(rest);
  }
  __syncthreads();
  if (!at.active) return;
  A a[V], shift[V], of_x[V], rest[V];
  for (int k = 0; k < V; ++k) {
    a[k] = coefficients[at.lane * V + k];
    shift[k] = coefficients[kStride + at.lane * V + k];
    of_x[k] = coefficients[2 * kStride + at.lane * V + k];
    rest[k] = coefficients[3 * kStride + at.lane * V + k];
  }
  for (std::int64_t r = at.first_row; r < at.rows; r += kRowsAhead * at.step) {
    Lane<T, V> in[kRowsAhead], grad[kRowsAhead];
#pragma unroll
    for (int u = 0; u < kRowsAhead; ++u)
      if (r + u * at.step < at.rows) {
        in[u] = *reinterpret_cast<const Lane<T, V>*>(x + at.offset(r + u * at.step));
        grad[u] = *reinterpret_cast<const Lane<T, V>*>(g + at.offset(r + u * at.step));
      }
#pragma unroll
    for (int u = 0; u < kRowsAhead; ++u)
      if (r + u * at.step < at.rows) {
        for (int k = 0; k < V; ++k) {
          const A v = load(in[u].v[k]);
          A d = load(grad[u].v[k]);
          if (relu) d = v * a[k] + shift[k] > 0 ? d : A(0);
          grad[u].v[k] = convert<T>(d * a[k] + (v * of_x[k] + rest[k]));
        }
        store_lane(dx + at.offset(r + u * at.step), grad[u]);
      }
  }
}

}  // namespace spn::kernels::cuda
