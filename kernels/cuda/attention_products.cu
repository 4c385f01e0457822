// Attention over long sequences (a ViT's 197 tokens) as two products of the vendor's library, which run on tensor
// cores, with the softmax between them: a head at a time over as many samples as keep their weights near the L2 cache.
#include <algorithm>

#include "kernels/cuda/attention_products.h"
#include "kernels/cuda/device/attention_weights.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

constexpr std::int64_t kLong = 64;                         // queries and keys from which the products fill their tiles
constexpr std::int64_t kWeights = std::int64_t{64} << 20;  // bytes of logits and weights at once

// Head h of samples [b, b + n) of v [B,H,T,Dh] as matrices [n,T,Dh], or transposed [n,Dh,T].
View head(const View& v, std::int64_t h, std::int64_t b, std::int64_t n, bool transposed) {
  View m = v;
  m.data = static_cast<std::byte*>(v.data) +
           (b * v.strides[0] + h * v.strides[1]) * static_cast<std::int64_t>(size_of(v.dtype));
  m.shape = transposed ? Shape{n, v.dim(3), v.dim(2)} : Shape{n, v.dim(2), v.dim(3)};
  m.strides = transposed ? Shape{v.strides[0], 1, v.strides[2]} : Shape{v.strides[0], v.strides[2], 1};
  return m;
}

template <class T>
void forward(const AttentionFwd& a) {
  const std::int64_t batch = a.q.dim(0), heads = a.q.dim(1), tq = a.q.dim(2), tk = a.k.dim(2);
  const std::int64_t row = (tk + 7) / 8 * 8;  // 16 bytes of the smallest dtype: what tensor cores want of rows
  constexpr std::int64_t kBytes = sizeof(float) + (std::is_same_v<T, float> ? 0 : sizeof(T));
  const std::int64_t most = std::clamp<std::int64_t>(kWeights / (tq * row * kBytes), 1, batch);
  auto* logits = static_cast<float*>(scratch(Scratch::kernel, static_cast<std::size_t>(most * tq * row * kBytes)));
  T* weights = nullptr;
  if constexpr (std::is_same_v<T, float>)
    weights = logits;
  else
    weights = reinterpret_cast<T*>(logits + most * tq * row);
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t b = 0; b < batch; b += most) {
      const std::int64_t n = std::min(most, batch - b);
      const View s{logits, DType::f32, a.q.device, {n, tq, tk}, {tq * row, row, 1}};
      const View p{weights, dtype_of<T>, a.q.device, {n, tq, tk}, {tq * row, row, 1}};
      gemm({.a = head(a.q, h, b, n, false), .b = head(a.k, h, b, n, true), .c = s});
      launch(attention_weights<T>, grid_for(n * tq * kWarp), dim3(kBlock), 0, stream(), logits, weights,
             a.lse.ptr<float>() + (b * heads + h) * tq, static_cast<float>(a.scale), n * tq, tq, static_cast<int>(tk),
             row, heads * tq);
      gemm({.a = p, .b = head(a.v, h, b, n, false), .c = head(a.o, h, b, n, false)});
    }
}

}  // namespace

bool attention_by_products(const AttentionFwd& a) {
  if (a.q.dim(2) < kLong || a.k.dim(2) < kLong || a.dropout.p > 0 || a.q.dtype == DType::f64) return false;
  for (const View* v : {&a.q, &a.k, &a.v, &a.o})
    if (v->dim(3) > 1 && v->strides[3] != 1) return false;
  if (a.q.dtype == DType::bf16)
    forward<bf16>(a);
  else
    forward<float>(a);
  return true;
}

}  // namespace spn::kernels::cuda
