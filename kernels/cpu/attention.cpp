// Fused attention. Each (sample, head) is worked on alone, kQueries query rows at a time, so that logits exist only as
// a [kQueries, Tk] block in the thread's scratch; the backward recomputes them from lse. bf16 heads are widened to
// float on the way in and rounded on the way out.
#include "kernels/checks/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/mask.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cpu {
namespace {

constexpr std::int64_t kQueries = 32, kPad = 8;

struct Sizes {
  std::int64_t batch, heads, tq, tk, width, padded;  // padded: tk up to a multiple of kPad
};

template <class A>
Sizes sizes_of(const A& a) {
  check_attention(a);
  const View &q = a.q, &k = a.k;
  return {q.dim(0), q.dim(1), q.dim(2), k.dim(2), q.dim(3), (k.dim(2) + kPad - 1) / kPad * kPad};
}

// One head of a tensor as rows of C: in place, or for bf16 a widened copy.
template <class T>
class Head {
 public:
  using C = compute_t<T>;
  Head(const View& v, std::int64_t b, std::int64_t h, C* copy) {
    if (!v) return;  // a gradient that nobody wants
    rows_ = v.dim(2);
    width_ = v.dim(3);
    p_ = v.ptr<T>() + b * v.strides[0] + h * v.strides[1];
    row_ = v.strides[2];
    if constexpr (std::is_same_v<T, C>) {
      c_ = p_;
      c_row_ = row_;
    } else {
      c_ = copy;
      c_row_ = width_;
    }
  }
  const Head& read() const {
    if constexpr (!std::is_same_v<T, C>)
      for (std::int64_t r = 0; r < rows_; ++r)
        for (std::int64_t i = 0; i < width_; ++i) c_[r * c_row_ + i] = load(p_[r * row_ + i]);
    return *this;
  }
  void write() const {
    if constexpr (!std::is_same_v<T, C>)
      if (p_ != nullptr)
        for (std::int64_t r = 0; r < rows_; ++r)
          for (std::int64_t i = 0; i < width_; ++i) p_[r * row_ + i] = convert<T>(c_[r * c_row_ + i]);
  }
  explicit operator bool() const { return p_ != nullptr; }
  C* row(std::int64_t r) const { return c_ + r * c_row_; }
  MatrixA<C> left(std::int64_t r) const { return {row(r), c_row_, 1}; }
  MatrixRows<const C> right(std::int64_t r = 0) const { return {row(r), c_row_}; }
  MatrixRows<C> out(std::int64_t r = 0) const { return {row(r), c_row_}; }
  // [width, padded]: columns are rows of this head; anything beyond them.
  void transpose_to(C* t, std::int64_t padded) const { transpose<C>({c_, c_row_}, rows_, width_, t, padded); }

 private:
  std::int64_t rows_ = 0, width_ = 0;
  T* p_ = nullptr;
  std::int64_t row_ = 0;
  C* c_ = nullptr;
  std::int64_t c_row_ = 0;
};

// Rows of a padded block, kPad lanes at a time.
template <class C>
struct Lanes {
  using Vec = typename VectorOf<C, kPad>::type;
  static Vec get(const C* p) { return *reinterpret_cast<const Vec*>(p); }
  static void put(C* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }
  static C sum(const Vec& v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
  static C max(const Vec& v) {
    return std::max(std::max(std::max(v[0], v[4]), std::max(v[2], v[6])),
                    std::max(std::max(v[1], v[5]), std::max(v[3], v[7])));
  }
};

// s[i] = e^s[i] for a whole block at once: long runs vectorise best.
template <class C>
void exponentiate(C* s, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) s[i] = fast_exp(s[i]);
}

// Columns beyond the keys hold anything until here.
template <class C>
void fill_padding(C* s, std::int64_t n, const Sizes& z, C value) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = z.tk; j < z.padded; ++j) s[i * z.padded + j] = value;
}

// Logits of n query rows to weights: s = softmax(scale · s) · keep; the logsumexp of each row to lse.
template <class C>
void weights(C* s, std::int64_t n, const Sizes& z, C scale, const C* keep, C* lse) {
  using L = Lanes<C>;
  fill_padding(s, n, z, -std::numeric_limits<C>::infinity());
  for (std::int64_t i = 0; i < n; ++i) {
    C* row = s + i * z.padded;
    auto top = L::get(row);
    for (std::int64_t j = kPad; j < z.padded; j += kPad) {
      const auto v = L::get(row + j);
      top = v > top ? v : top;
    }
    lse[i] = L::max(top) * scale;  // as scale > 0
    for (std::int64_t j = 0; j < z.padded; j += kPad) L::put(row + j, L::get(row + j) * scale - lse[i]);
  }
  exponentiate(s, n * z.padded);
  for (std::int64_t i = 0; i < n; ++i) {
    C* row = s + i * z.padded;
    auto total = L::get(row);
    for (std::int64_t j = kPad; j < z.padded; j += kPad) total += L::get(row + j);
    const C sum = L::sum(total), inv = C(1) / sum;
    lse[i] += std::log(sum);
    for (std::int64_t j = 0; j < z.padded; j += kPad) {
      auto v = L::get(row + j) * inv;
      if (keep != nullptr) v *= L::get(keep + i * z.tk + j);
      L::put(row + j, v);
    }
  }
}

// p: logits to weights · keep; d: gradient of the weights to that of the unscaled logits.
template <class C>
void weights_backward(C* p, C* d, std::int64_t n, const Sizes& z, C scale, const C* keep, const C* lse) {
  using L = Lanes<C>;
  fill_padding(p, n, z, -std::numeric_limits<C>::infinity());
  fill_padding(d, n, z, C(0));
  for (std::int64_t i = 0; i < n; ++i) {
    C* row = p + i * z.padded;
    for (std::int64_t j = 0; j < z.padded; j += kPad) L::put(row + j, L::get(row + j) * scale - lse[i]);
  }
  exponentiate(p, n * z.padded);
  for (std::int64_t i = 0; i < n; ++i) {
    C *row = p + i * z.padded, *g = d + i * z.padded;
    typename L::Vec total{};
    for (std::int64_t j = 0; j < z.padded; j += kPad) {
      auto v = L::get(g + j);
      if (keep != nullptr) {
        v *= L::get(keep + i * z.tk + j);
        L::put(g + j, v);
      }
      total += L::get(row + j) * v;
    }
    const C mean = L::sum(total);
    for (std::int64_t j = 0; j < z.padded; j += kPad) {
      const auto v = L::get(row + j);
      L::put(g + j, v * (L::get(g + j) - mean) * scale);
      if (keep != nullptr) L::put(row + j, v * L::get(keep + i * z.tk + j));
    }
  }
}

// Dropout factors of query rows [i0, i0 + n) of a head, in a dense [n, tk], and kPad zeros: padded rows read on.
template <class C>
void factors(const DropoutKey& key, const Sizes& z, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t n,
             C* out) {
  dropout_factors(key, sample_of(key, b), (h * z.tq + i0) * z.tk, n * z.tk, out);
  std::fill_n(out + n * z.tk, kPad, C(0));
}

template <class T>
void forward(const AttentionFwd& a, const Sizes& z) {
  using C = compute_t<T>;
  const C scale = static_cast<C>(a.scale);
  const bool dropping = a.dropout.p > 0;
  const std::int64_t block = std::min(kQueries, z.tq);
  C* lse = a.lse.ptr<C>();
  parallel_for(z.batch * z.heads, z.tq * z.tk * z.width / 4, [&](std::int64_t begin, std::int64_t end) {
    static thread_local Scratch<C> memory;
    const std::int64_t q_size = z.tq * z.width, k_size = z.tk * z.width;
    C* at = memory.get(z.width * z.padded + 2 * block * z.padded + kPad + 2 * (q_size + k_size));
    C* kt = at;
    C* s = kt + z.width * z.padded;
    C* keep = s + block * z.padded;
    C* copies = keep + block * z.padded + kPad;  // only bf16 uses them
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t b = item / z.heads, h = item % z.heads;
      const Head<T> q(a.q, b, h, copies), o(a.o, b, h, copies + q_size), k(a.k, b, h, copies + 2 * q_size),
          v(a.v, b, h, copies + 2 * q_size + k_size);
      q.read();
      v.read();
      k.read().transpose_to(kt, z.padded);
      for (std::int64_t i0 = 0; i0 < z.tq; i0 += block) {
        const std::int64_t n = std::min(block, z.tq - i0);
        small_gemm<C>(n, z.padded, z.width, q.left(i0), {kt, z.padded}, {s, z.padded}, false);
        if (dropping) factors(a.dropout, z, b, h, i0, n, keep);
        weights(s, n, z, scale, dropping ? keep : nullptr, lse + item * z.tq + i0);
        small_gemm<C>(n, z.width, z.tk, {s, z.padded, 1}, v.right(), o.out(i0), false);
      }
      o.write();
    }
  });
}

template <class T>
void backward(const AttentionBwd& a, const Sizes& z) {
  using C = compute_t<T>;
  const C scale = static_cast<C>(a.scale);
  const bool dropping = a.dropout.p > 0;
  const std::int64_t block = std::min(kQueries, z.tq);
  const C* lse = a.lse.ptr<C>();
  parallel_for(z.batch * z.heads, z.tq * z.tk * z.width, [&](std::int64_t begin, std::int64_t end) {
    static thread_local Scratch<C> memory;
    const std::int64_t q_size = z.tq * z.width, k_size = z.tk * z.width, s_size = block * z.padded;
    C* kt = memory.get(2 * z.width * z.padded + 3 * s_size + kPad + 3 * q_size + 4 * k_size);
    C* vt = kt + z.width * z.padded;
    C* p = vt + z.width * z.padded;  // P, then P · keep
    C* ds = p + s_size;              // dP, then dS
    C* keep = ds + s_size;
    C* at = keep + s_size + kPad;  // copies: only bf16 uses them
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t b = item / z.heads, h = item % z.heads;
      C* qk = at + 3 * q_size;
      const Head<T> q(a.q, b, h, at), d_o(a.d_o, b, h, at + q_size), dq(a.dq, b, h, at + 2 * q_size), k(a.k, b, h, qk),
          v(a.v, b, h, qk + k_size), dk(a.dk, b, h, qk + 2 * k_size), dv(a.dv, b, h, qk + 3 * k_size);
      q.read();
      d_o.read();
      k.read().transpose_to(kt, z.padded);
      v.read().transpose_to(vt, z.padded);
      for (std::int64_t i0 = 0; i0 < z.tq; i0 += block) {
        const std::int64_t n = std::min(block, z.tq - i0);
        small_gemm<C>(n, z.padded, z.width, q.left(i0), {kt, z.padded}, {p, z.padded}, false);
        small_gemm<C>(n, z.padded, z.width, d_o.left(i0), {vt, z.padded}, {ds, z.padded}, false);
        if (dropping) factors(a.dropout, z, b, h, i0, n, keep);
        weights_backward(p, ds, n, z, scale, dropping ? keep : nullptr, lse + item * z.tq + i0);
        if (dq) small_gemm<C>(n, z.width, z.tk, {ds, z.padded, 1}, k.right(), dq.out(i0), false);
        if (dk) small_gemm<C>(z.tk, z.width, n, {ds, 1, z.padded}, q.right(i0), dk.out(), i0 > 0);
        if (dv) small_gemm<C>(z.tk, z.width, n, {p, 1, z.padded}, d_o.right(i0), dv.out(), i0 > 0);
      }
      dq.write();
      dk.write();
      dv.write();
    }
  });
}

}  // namespace

void attention_fwd(const AttentionFwd& a) {
  const Sizes z = sizes_of(a);
  if (z.batch * z.heads * z.tq * z.width == 0) return;
  visit_float(a.q.dtype, "attention", [&](auto e) { forward<decltype(e)>(a, z); });
}

void attention_bwd(const AttentionBwd& a) {
  const Sizes z = sizes_of(a);
  if (z.batch * z.heads * z.tq * z.width == 0) {  // nobody asked: keys have no gradient
    for (const View* g : {&a.dk, &a.dv})
      if (*g && g->numel() != 0) copy({.value = 0, .y = *g});
    return;
  }
  visit_float(a.q.dtype, "attention", [&](auto e) { backward<decltype(e)>(a, z); });
}

}  // namespace spn::kernels::cpu
