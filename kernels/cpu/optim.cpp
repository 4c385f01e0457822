// Optimiser updates over many tensors. The elements of all tensors are cut into fixed chunks, and threads share the
// list of chunks: a thousand small tensors cost as much as one large, and results do not depend on the thread count.
#include "kernels/math/optim.h"

#include <cmath>
#include <vector>

#include "kernels/checks/optim.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"

namespace spn::kernels::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;

struct Chunk {
  std::size_t tensor;
  std::int64_t begin, end;
};

// size(i): elements of tensor i of n.
template <class Size>
std::vector<Chunk> chunks_of(std::size_t n, Size&& size) {
  std::vector<Chunk> chunks;
  for (std::size_t i = 0; i < n; ++i)
    for (std::int64_t at = 0; at < size(i); at += kChunk) chunks.push_back({i, at, std::min(at + kChunk, size(i))});
  return chunks;
}

template <class F>
void over_chunks(const std::vector<Chunk>& chunks, F&& f) {
  parallel_for(static_cast<std::int64_t>(chunks.size()), kChunk, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) f(chunks[static_cast<std::size_t>(c)], static_cast<std::size_t>(c));
  });
}

// The rates of this update, as optimizer kernels use them; t: which update it is, from 1 on.
struct Rates {
  double lr, weight_decay, t, grad_scale;
  bool finite;
};
Rates read_rates(const char* op, const UpdateRates& u) {
  const double *r = u.rates.ptr<double>(), norm = std::sqrt(*u.squares.ptr<double>());
  double& updates = *u.updates.ptr<double>();
  check(updates >= 0, op, "expected a number of updates of at least 0, got {}", updates);
  const bool finite = std::isfinite(norm);
  if (finite) updates += 1;
  return {r[0], r[1], updates, clip_scale(norm, u.max_norm), finite};
}

template <class T>
void adamw_chunk(const AdamWParam& p, const AdamW& a, const Rates& r, std::int64_t begin, std::int64_t end) {
  T* __restrict w = static_cast<T*>(p.w.data);
  T* __restrict m = static_cast<T*>(p.m.data);
  T* __restrict v = static_cast<T*>(p.v.data);
  const T* __restrict grad = static_cast<const T*>(p.grad.data);
  const double lr = r.lr * p.lr_scale;
  const double correction1 = 1 - std::pow(a.beta1, r.t), correction2 = 1 - std::pow(a.beta2, r.t);
  const T keep = static_cast<T>(1 - lr * r.weight_decay * p.decay_scale), scale = static_cast<T>(r.grad_scale);
  const T new1 = static_cast<T>(1 - a.beta1), beta2 = static_cast<T>(a.beta2), new2 = static_cast<T>(1 - a.beta2);
  const T root2 = static_cast<T>(std::sqrt(correction2)), eps = static_cast<T>(a.eps);
  const T rate = static_cast<T>(lr / correction1);
  const auto update = [&](std::int64_t i) {
    const T g = grad[i] * scale;
    m[i] += new1 * (g - m[i]);
    v[i] = v[i] * beta2 + new2 * g * g;
    w[i] = w[i] * keep - rate * (m[i] / (std::sqrt(v[i]) / root2 + eps));
  };
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) update(i);
  if constexpr (std::is_same_v<T, float>)
    if (p.copy) {  // a loop of its own: the chunk is in the cache, and both loops vectorise
      bf16* __restrict copy = static_cast<bf16*>(p.copy.data);
      for (std::int64_t i = begin; i < end; ++i) copy[i] = bf16(w[i]);
    }
}

template <class T>
void sgd_chunk(const SgdParam& p, const Sgd& a, const Rates& r, std::int64_t begin, std::int64_t end) {
  T* __restrict w = static_cast<T*>(p.w.data);
  T* __restrict buf = static_cast<T*>(p.momentum.data);
  const T* __restrict grad = static_cast<const T*>(p.grad.data);
  const T scale = static_cast<T>(r.grad_scale), decay = static_cast<T>(r.weight_decay * p.decay_scale);
  const T momentum = static_cast<T>(r.t > 1 ? a.momentum : 0), rate = static_cast<T>(r.lr * p.lr_scale);
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    buf[i] = momentum * buf[i] + (grad[i] * scale + decay * w[i]);
    w[i] -= rate * buf[i];
  }
}

template <class T>
void lerp_chunk(const LerpPair& p, double weight, std::int64_t begin, std::int64_t end) {
  T* __restrict y = static_cast<T*>(p.y.data);
  const T* __restrict x = static_cast<const T*>(p.x.data);
  const T part = static_cast<T>(weight);
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) y[i] += part * (x[i] - y[i]);
}

inline double value_of(float x) { return static_cast<double>(x); }
inline double value_of(double x) { return x; }
inline double value_of(bf16 x) { return static_cast<double>(static_cast<float>(x)); }

template <class T>
double squares(const View& x, std::int64_t begin, std::int64_t end) {
  const T* p = static_cast<const T*>(x.data);
  double lanes[8] = {};  // independent sums, so that the loop vectorises without reordering anything
  std::int64_t i = begin;
  for (; i + 8 <= end; i += 8)
    for (int l = 0; l < 8; ++l) {
      const double e = value_of(p[i + l]);
      lanes[l] += e * e;
    }
  for (; i < end; ++i) lanes[0] += value_of(p[i]) * value_of(p[i]);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

}  // namespace

void adamw(const AdamW& a) {
  check_update(a);
  const Rates rates = read_rates("adamw", a.update);
  if (!rates.finite) return;
  over_chunks(chunks_of(a.params.size(), [&](std::size_t i) { return a.params[i].w.numel(); }),
              [&](const Chunk& c, std::size_t) {
                const AdamWParam& p = a.params[c.tensor];
                if (p.w.dtype == DType::f32)
                  adamw_chunk<float>(p, a, rates, c.begin, c.end);
                else
                  adamw_chunk<double>(p, a, rates, c.begin, c.end);
              });
}

void sgd(const Sgd& a) {
  check_update(a);
  const Rates rates = read_rates("sgd", a.update);
  if (!rates.finite) return;
  over_chunks(chunks_of(a.params.size(), [&](std::size_t i) { return a.params[i].w.numel(); }),
              [&](const Chunk& c, std::size_t) {
                const SgdParam& p = a.params[c.tensor];
                if (p.w.dtype == DType::f32)
                  sgd_chunk<float>(p, a, rates, c.begin, c.end);
                else
                  sgd_chunk<double>(p, a, rates, c.begin, c.end);
              });
}

void lerp(const Lerp& a) {
  check_update(a);
  if (a.squares && !std::isfinite(*a.squares.ptr<double>())) return;
  over_chunks(chunks_of(a.pairs.size(), [&](std::size_t i) { return a.pairs[i].y.numel(); }),
              [&](const Chunk& c, std::size_t) {
                const LerpPair& p = a.pairs[c.tensor];
                if (p.y.dtype == DType::f32)
                  lerp_chunk<float>(p, a.weight, c.begin, c.end);
                else
                  lerp_chunk<double>(p, a.weight, c.begin, c.end);
              });
}

void sum_of_squares(const SumOfSquares& a) {
  check_squares(a);
  const auto chunks = chunks_of(a.x.size(), [&](std::size_t i) { return a.x[i].numel(); });
  std::vector<double> partial(chunks.size());
  over_chunks(chunks, [&](const Chunk& c, std::size_t at) {
    const View& x = a.x[c.tensor];
    partial[at] = x.dtype == DType::f32   ? squares<float>(x, c.begin, c.end)
                  : x.dtype == DType::f64 ? squares<double>(x, c.begin, c.end)
                                          : squares<bf16>(x, c.begin, c.end);
  });
  double sum = 0;
  for (const double p : partial) sum += p;
  *a.out.ptr<double>() = sum;
}

}  // namespace spn::kernels::cpu
