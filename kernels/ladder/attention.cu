// Rungs of attention over 8 tokens: a thread a row of queries or keys, which reads its head on its own; a warp a head
// in f32. Of longer sequences: the first of these, and products of the library with their weights in memory.
#include "kernels/cuda/attention_products.h"
#include "kernels/cuda/device/attention_short.h"
#include "kernels/cuda/launch.h"
#include "kernels/ladder/attention.h"
#include "kernels/ladder/ladder.h"

namespace spn::kernels {
namespace {

using namespace cuda;

constexpr int kTokens = 8, kWidth = 64;
constexpr float kScale = 0.125F;

__device__ inline float dot_of(const bf16* a, const bf16* b) {
  float s = 0;
  for (int d = 0; d < kWidth; ++d) s += load(a[d]) * load(b[d]);
  return s;
}

// Row i of n: of a query, whose keys are the rows of the same head.
__global__ void query_rows(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const std::int64_t first = i / kTokens * kTokens;
    float weight[kTokens], top = -1e30F, sum = 0;
    for (int j = 0; j < kTokens; ++j) {
      weight[j] = kScale * dot_of(q + i * kWidth, k + (first + j) * kWidth);
      top = weight[j] > top ? weight[j] : top;
    }
    for (float& w : weight) sum += w = std::exp(w - top);
    lse[i] = top + std::log(sum);
    for (int d = 0; d < kWidth; ++d) {
      float s = 0;
      for (int j = 0; j < kTokens; ++j) s += weight[j] / sum * load(v[(first + j) * kWidth + d]);
      o[i * kWidth + d] = convert<bf16>(s);
    }
  }
}

// As query_rows for any number of tokens: the logits are computed for their largest, and again for the weights.
__global__ void query_rows_long(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse, std::int64_t n,
                                std::int64_t tokens) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const std::int64_t first = i / tokens * tokens;
    float top = -1e30F, sum = 0, out[kWidth] = {};
    for (std::int64_t j = first; j < first + tokens; ++j) {
      const float logit = kScale * dot_of(q + i * kWidth, k + j * kWidth);
      top = logit > top ? logit : top;
    }
    for (std::int64_t j = first; j < first + tokens; ++j) {
      const float weight = std::exp(kScale * dot_of(q + i * kWidth, k + j * kWidth) - top);
      sum += weight;
      for (int d = 0; d < kWidth; ++d) out[d] += weight * load(v[j * kWidth + d]);
    }
    lse[i] = top + std::log(sum);
    for (int d = 0; d < kWidth; ++d) o[i * kWidth + d] = convert<bf16>(out[d] / sum);
  }
}

struct Backward {
  const bf16 *q, *k, *v, *o, *d_o;
  const float* lse;
  bf16 *dq, *dk, *dv;
};
// Weight of the pair (query i, key j) and the gradient of its scaled logit.
__device__ inline void pair_of(const Backward& a, std::int64_t i, std::int64_t j, float& p, float& ds) {
  p = std::exp(kScale * dot_of(a.q + i * kWidth, a.k + j * kWidth) - a.lse[i]);
  ds = kScale * p * (dot_of(a.d_o + i * kWidth, a.v + j * kWidth) - dot_of(a.d_o + i * kWidth, a.o + i * kWidth));
}
// Row i as a query, then as a key.
__global__ void rows_backward(Backward a, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const std::int64_t first = i / kTokens * kTokens;
    float p[kTokens], ds[kTokens];
    for (int j = 0; j < kTokens; ++j) pair_of(a, i, first + j, p[j], ds[j]);
    for (int d = 0; d < kWidth; ++d) {
      float s = 0;
      for (int j = 0; j < kTokens; ++j) s += ds[j] * load(a.k[(first + j) * kWidth + d]);
      a.dq[i * kWidth + d] = convert<bf16>(s);
    }
    for (int j = 0; j < kTokens; ++j) pair_of(a, first + j, i, p[j], ds[j]);
    for (int d = 0; d < kWidth; ++d) {
      float k = 0, v = 0;
      for (int j = 0; j < kTokens; ++j) {
        k += ds[j] * load(a.q[(first + j) * kWidth + d]);
        v += p[j] * load(a.d_o[(first + j) * kWidth + d]);
      }
      a.dk[i * kWidth + d] = convert<bf16>(k);
      a.dv[i * kWidth + d] = convert<bf16>(v);
    }
  }
}

void thread_a_query(Views v) {
  const std::int64_t n = v[4].numel();
  launch(query_rows, grid_for(n), dim3(kBlock), 0, stream(), v[0].ptr<bf16>(), v[1].ptr<bf16>(), v[2].ptr<bf16>(),
         v[3].ptr<bf16>(), v[4].ptr<float>(), n);
}
void thread_a_long_query(Views v) {
  const std::int64_t n = v[4].numel();
  launch(query_rows_long, grid_for(n), dim3(kBlock), 0, stream(), v[0].ptr<bf16>(), v[1].ptr<bf16>(), v[2].ptr<bf16>(),
         v[3].ptr<bf16>(), v[4].ptr<float>(), n, v[0].dim(2));
}
void products(Views v) {
  check(attention_by_products(AttentionFwd{.q = v[0], .k = v[1], .v = v[2], .o = v[3], .lse = v[4], .scale = kScale}),
        "attention_long", "expected sequences that are computed by products");
}
template <class T>
Heads<T> heads(const View& v) {
  return {v.ptr<bf16>(), v.strides[0], v.strides[1], v.strides[2]};
}
AttentionSizes sizes(const View& q) { return {q.dim(0), q.dim(1), q.dim(2), q.dim(2), kWidth, true}; }
template <class A>
void launch_warps(void (*kernel)(A), const A& a) {
  constexpr int kWarps = kShortWarps<bf16>;
  const std::int64_t blocks = (a.z.batch * a.z.heads + kWarps - 1) / kWarps;
  launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kWarps * kWarp), 0, stream(), a);
}
template <bool dropped>
AttentionDropout dropout() {
  return dropped ? AttentionDropout{kAttentionDropout, dropout_threshold(kAttentionDropout.p)} : AttentionDropout{};
}
template <bool dropped>
void warp_a_head(Views v) {
  const auto in = [&](std::size_t i) { return heads<const bf16>(v[i]); };
  const AttentionForward<bf16> a{
      in(0), in(1), in(2), heads<bf16>(v[3]), v[4].ptr<float>(), kScale, sizes(v[0]), dropout<dropped>()};
  launch_warps(attention_short<bf16, true>, a);
}
template <bool dropped>
void warp_a_head_backward(Views v) {
  const auto in = [&](std::size_t i) { return heads<const bf16>(v[i]); };
  const auto out = [&](std::size_t i) { return heads<bf16>(v[i]); };
  const AttentionBackward<bf16> a{in(0),  in(1),       in(2),
                                  in(3),  in(5),       out(6),
                                  out(7), out(8),      v[4].ptr<float>(),
                                  kScale, sizes(v[0]), dropout<dropped>()};
  launch_warps(attention_short_bwd<bf16, true>, a);
}
void thread_a_row(Views v) {
  const std::int64_t n = v[4].numel();
  const Backward a{v[0].ptr<bf16>(),  v[1].ptr<bf16>(), v[2].ptr<bf16>(), v[3].ptr<bf16>(), v[5].ptr<bf16>(),
                   v[4].ptr<float>(), v[6].ptr<bf16>(), v[7].ptr<bf16>(), v[8].ptr<bf16>()};
  launch(rows_backward, grid_for(n), dim3(kBlock), 0, stream(), a, n);
}

}  // namespace

std::span<const Rung> attention_fwd_rungs() {
  static const Rung rungs[] = {{"a thread a query", thread_a_query}, {"a warp a head, f32", warp_a_head<false>}};
  return rungs;
}
std::span<const Rung> attention_long_rungs() {
  static const Rung rungs[] = {{"a thread a query", thread_a_long_query}, {"products", products}};
  return rungs;
}
std::span<const Rung> attention_bwd_rungs() {
  static const Rung rungs[] = {{"a thread a row", thread_a_row}, {"a warp a head, f32", warp_a_head_backward<false>}};
  return rungs;
}
std::span<const Rung> attention_dropout_fwd_rungs() {
  static const Rung rungs[] = {{"a warp a head, f32", warp_a_head<true>}};
  return rungs;
}
std::span<const Rung> attention_dropout_bwd_rungs() {
  static const Rung rungs[] = {{"a warp a head, f32", warp_a_head_backward<true>}};
  return rungs;
}

}  // namespace spn::kernels
