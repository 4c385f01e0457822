// Attention over long sequences (a ViT's 197 tokens) as products of the vendor's library, which run on tensor cores,
// with the softmax or its gradient between them: as many samples or heads at a time as keep their weights near the L2
// cache.
#include <algorithm>
#include <array>

#include "kernels/cuda/attention_products.h"
#include "kernels/cuda/device/attention_weights.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

using i64 = std::int64_t;

constexpr i64 kLong = 64;                // queries and keys from which the products fill their tiles
constexpr i64 kWeights = i64{64} << 20;  // bytes of logits and weights at once

bool by_products(i64 tq, i64 tk, DType dtype, const DropoutKey& dropout) {
  return tq >= kLong && tk >= kLong && dropout.p == 0 && dtype != DType::f64;
}

// Heads [B,H,T,Dh] as `outer` batches of `inner` matrices that lie one step apart, as a batched product wants them: all
// at once where samples and heads join, otherwise the samples of a head or the heads of a sample, whichever are more.
struct Batches {
  i64 outer, inner;
  std::array<int, 2> dim;  // what outer and inner count: 0 samples, 1 heads; joined: inner steps through dim[1]
  i64 lse_outer, lse_inner;

  Batches(i64 samples, i64 heads, i64 tq, std::initializer_list<const View*> all) {
    const bool joined = samples == 1 || heads == 1 || std::all_of(all.begin(), all.end(), [&](const View* v) {
                          return !*v || v->strides[0] == heads * v->strides[1];
                        });
    const bool by_head = samples > heads;
    outer = joined ? 1 : std::min(samples, heads);
    inner = samples * heads / outer;
    dim = joined ? std::array{0, heads == 1 ? 0 : 1} : by_head ? std::array{1, 0} : std::array{0, 1};
    lse_outer = by_head ? tq : heads * tq;
    lse_inner = by_head && !joined ? heads * tq : tq;
  }
  // Matrices [first, first + n) of batch o of v as [n,T,Dh], or transposed [n,Dh,T].
  View part(const View& v, i64 o, i64 first, i64 n, bool transposed = false) const {
    View m = v;
    const i64 offset = o * v.strides[dim[0]] + first * v.strides[dim[1]];
    m.data = static_cast<std::byte*>(v.data) + offset * static_cast<i64>(size_of(v.dtype));
    const i64 step = v.strides[dim[1]];
    m.shape = transposed ? Shape{n, v.dim(3), v.dim(2)} : Shape{n, v.dim(2), v.dim(3)};
    m.strides = transposed ? Shape{step, 1, v.strides[2]} : Shape{step, v.strides[2], 1};
    return m;
  }
};

// [n,tq,tk] between queries and keys in scratch, rows padded; or its transpose.
struct Weights {
  i64 tq, tk, row;
  Device device;
  Weights(const View& q, const View& k)
      : tq(q.dim(2)),
        tk(k.dim(2)),
        row((tk + 7) / 8 * 8),
        device(q.device) {}  // 16 bytes: what tensor cores want of rows
  i64 size() const { return tq * row; }
  template <class T>
  View view(T* p, i64 n, bool transposed = false) const {
    return {p, dtype_of<T>, device, transposed ? Shape{n, tk, tq} : Shape{n, tq, tk},
            transposed ? Shape{size(), 1, row} : Shape{size(), row, 1}};
  }
  // How many matrices of `bytes` an element are worked on at once, and memory for them.
  i64 most(i64 bytes, i64 batch) const { return std::clamp<i64>(kWeights / (size() * bytes), 1, batch); }
  void* memory(i64 bytes, i64 n) const {
    return scratch(Scratch::kernel, static_cast<std::size_t>(n * size() * bytes));
  }
};

template <class T>
constexpr bool kNarrow = !std::is_same_v<T, float>;  // weights are rounded for the products, into memory of their own

template <class T>
void forward(const AttentionFwd& a) {
  const i64 tq = a.q.dim(2);
  const Batches batches(a.q.dim(0), a.q.dim(1), tq, {&a.q, &a.k, &a.v, &a.o});
  const Weights w(a.q, a.k);
  constexpr i64 kBytes = sizeof(float) + (kNarrow<T> ? sizeof(T) : 0);
  const i64 most = w.most(kBytes, batches.inner);
  auto* logits = static_cast<float*>(w.memory(kBytes, most));
  T* weights = nullptr;
  if constexpr (kNarrow<T>)
    weights = reinterpret_cast<T*>(logits + most * w.size());
  else
    weights = logits;
  for (i64 o = 0; o < batches.outer; ++o)
    for (i64 i = 0; i < batches.inner; i += most) {
      const i64 n = std::min(most, batches.inner - i);
      const auto part = [&](const View& v, bool transposed = false) { return batches.part(v, o, i, n, transposed); };
      gemm({.a = part(a.q), .b = part(a.k, true), .c = w.view(logits, n)});
      launch(attention_weights<T>, grid_for(n * tq * kWarp), dim3(kBlock), 0, stream(), logits, weights,
             a.lse.ptr<float>() + o * batches.lse_outer + i * batches.lse_inner, static_cast<float>(a.scale), n * tq,
             tq, static_cast<int>(w.tk), w.row, batches.lse_inner);
      gemm({.a = w.view(weights, n), .b = part(a.v), .c = part(a.o)});
    }
}

// The weights are computed again. All five products read what is rounded to T; weights and their gradients are f32
// until then.
template <class T>
void backward(const AttentionBwd& a) {
  const i64 tq = a.q.dim(2);
  const Batches batches(a.q.dim(0), a.q.dim(1), tq, {&a.q, &a.k, &a.v, &a.d_o, &a.dq, &a.dk, &a.dv});
  const Weights w(a.q, a.k);
  constexpr i64 kBytes = 2 * (sizeof(float) + (kNarrow<T> ? sizeof(T) : 0));
  const i64 most = w.most(kBytes, batches.inner), all = most * w.size();
  auto* logits = static_cast<float*>(w.memory(kBytes, most));
  float* d_weights = logits + all;
  T *weights = nullptr, *d_logits = nullptr;
  if constexpr (kNarrow<T>) {
    weights = reinterpret_cast<T*>(d_weights + all);
    d_logits = weights + all;
  } else {
    weights = logits;
    d_logits = d_weights;
  }
  const bool through = a.dq || a.dk;  // gradients that go through the softmax
  for (i64 o = 0; o < batches.outer; ++o)
    for (i64 i = 0; i < batches.inner; i += most) {
      const i64 n = std::min(most, batches.inner - i);
      const auto part = [&](const View& v, bool transposed = false) { return batches.part(v, o, i, n, transposed); };
      gemm({.a = part(a.q), .b = part(a.k, true), .c = w.view(logits, n)});
      if (through) gemm({.a = part(a.d_o), .b = part(a.v, true), .c = w.view(d_weights, n)});
      launch(attention_weights_bwd<T>, grid_for(n * tq * kWarp), dim3(kBlock), 0, stream(), logits,
             through ? d_weights : nullptr, a.dv ? weights : nullptr, d_logits,
             a.lse.ptr<float>() + o * batches.lse_outer + i * batches.lse_inner, static_cast<float>(a.scale), n * tq,
             tq, static_cast<int>(w.tk), w.row, batches.lse_inner);
      if (a.dv) gemm({.a = w.view(weights, n, true), .b = part(a.d_o), .c = part(a.dv)});
      if (a.dq) gemm({.a = w.view(d_logits, n), .b = part(a.k), .c = part(a.dq)});
      if (a.dk) gemm({.a = w.view(d_logits, n, true), .b = part(a.q), .c = part(a.dk)});
    }
}

}  // namespace

bool attention_by_products(const AttentionFwd& a) {
  if (!by_products(a.q.dim(2), a.k.dim(2), a.q.dtype, a.dropout)) return false;
  if (a.q.dtype == DType::bf16)
    forward<bf16>(a);
  else
    forward<float>(a);
  return true;
}

bool attention_by_products(const AttentionBwd& a) {
  if (!by_products(a.q.dim(2), a.k.dim(2), a.q.dtype, a.dropout)) return false;
  if (a.q.dtype == DType::bf16)
    backward<bf16>(a);
  else
    backward<float>(a);
  return true;
}

}  // namespace spn::kernels::cuda
