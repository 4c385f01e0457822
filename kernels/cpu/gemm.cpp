// Matrix products: oneDNN in f32, and in bf16 where the CPU multiplies it (elsewhere bf16 is widened to f32 and rounded
// once at the end); an own blocked loop in f64, which exists for gradient checks and reference results.
#include "kernels/checks/gemm.h"

#include "kernels/cpu/dnnl.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pointwise.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/widen.h"
#include "kernels/math/unary.h"

namespace spn::kernels::cpu {
namespace {

template <class T>
T* scratch(int slot, std::int64_t n) {
  static thread_local std::array<Scratch<T>, 3> memory;
  return memory[static_cast<std::size_t>(slot)].get(n);
}

// v's values as a contiguous T in scratch.
template <class T>
View packed(const View& v, int slot) {
  const View p = host_view(scratch<T>(slot, v.numel()), v.shape);
  copy({.x = v, .y = p});
  return p;
}

// A matrix oneDNN walks fast: one of the last two strides is 1 and the other at least the extent, none is 0.
bool good_for_dnnl(const View& v) {
  const std::int64_t rows = v.dim(-2), cols = v.dim(-1), sr = v.strides[-2], sc = v.strides[-1];
  for (int d = 0; d < v.ndim() - 2; ++d)
    if (v.dim(d) != 1 && v.strides[d] == 0) return false;
  const bool row_major = (sc == 1 || cols == 1) && (rows == 1 || sr >= cols);
  const bool col_major = (sr == 1 || rows == 1) && (cols == 1 || sc >= rows);
  return row_major || col_major;
}

// Gives dims of extent 1 the stride that a dense matrix has, so that oneDNN recognises the layout.
View tidy(View v) {
  std::int64_t &sr = v.strides[-2], &sc = v.strides[-1];
  const std::int64_t rows = v.dim(-2), cols = v.dim(-1);
  if (rows == 1 && cols == 1)
    sr = sc = 1;
  else if (rows == 1)
    sc == 1 ? sr = cols : sr = 1;
  else if (cols == 1)
    sr == 1 ? sc = rows : sc = 1;
  std::int64_t block = std::max(sr * rows, sc * cols);
  for (int d = v.ndim() - 3; d >= 0; --d) {
    if (v.dim(d) == 1) v.strides[d] = block;
    block = std::max(block, v.strides[d] * v.dim(d));
  }
  return v;
}

// All operands with the same number of dims; batch dims that only a and c have are made rows where strides allow, so
// that x [B,T,in] · w is one matrix product.
void flatten(View& a, View& b, View& c) {
  const int n = c.ndim();
  const auto lead = [n](View& v) {
    while (v.ndim() < n) {
      Shape s{1}, st{1};
      for (int i = 0; i < v.ndim(); ++i) {
        s.push_back(v.shape[i]);
        st.push_back(v.strides[i]);
      }
      v.shape = s;
      v.strides = st;
    }
  };
  lead(a);
  lead(b);
  while (c.ndim() > 2) {
    const auto joins = [](const View& v) { return v.strides[-3] == v.strides[-2] * v.dim(-2) || v.dim(-3) == 1; };
    if (b.dim(-3) != 1 || a.dim(-3) != c.dim(-3) || !joins(a) || !joins(c)) break;
    const auto join = [](View& v, bool rows) {
      Shape s, st;
      for (int i = 0; i < v.ndim(); ++i) {
        if (i == v.ndim() - 3) continue;
        s.push_back(v.shape[i]);
        st.push_back(v.strides[i]);
      }
      if (rows) s[-2] *= v.dim(-3);
      v.shape = s;
      v.strides = st;
    };
    join(a, true);
    join(c, true);
    join(b, false);
  }
}

struct Product {
  dnnl::memory::desc a, b, c, bias;
  dnnl::matmul run;
  bool fast = true;  // false: oneDNN has only its plain loops for this one
};

Product build(const View& a, const View& b, const View& c, const View& bias, Activation act, bool accumulate) {
  Product p;
  p.a = dnnl_desc(a);
  p.b = dnnl_desc(b);
  p.c = dnnl_desc(c);
  dnnl::post_ops post;
  if (act == Activation::relu) post.append_eltwise(1.F, dnnl::algorithm::eltwise_relu, 0.F, 0.F);
  if (act == Activation::gelu) post.append_eltwise(1.F, dnnl::algorithm::eltwise_gelu_erf, 0.F, 0.F);
  if (accumulate) post.append_sum(1.F);
  dnnl::primitive_attr attr;
  attr.set_post_ops(post);
  if (bias) {
    dnnl::memory::dims dims(static_cast<std::size_t>(c.ndim()), 1);
    dims.back() = c.dim(-1);
    dnnl::memory::dims st(dims.size(), c.dim(-1));
    st.back() = 1;
    p.bias = {dims, dnnl_type(bias.dtype), st};
  }
  const dnnl::matmul::desc d = bias ? dnnl::matmul::desc(p.a, p.b, p.bias, p.c) : dnnl::matmul::desc(p.a, p.b, p.c);
  const bool may_lack = a.dtype == DType::bf16;
  const dnnl::matmul::primitive_desc pd(d, attr, dnnl_engine(), may_lack);
  p.fast = !may_lack || (pd.get(true) != nullptr && !std::string_view(pd.impl_info_str()).starts_with("ref"));
  if (p.fast) p.run = dnnl::matmul(pd);
  return p;
}

// False: nothing was done, since oneDNN has no fast bf16 product of these layouts.
bool gemm_dnnl(View a, View b, View c, const View& bias, Activation act, bool accumulate) {
  flatten(a, b, c);
  if (pointwise_wins(a, b, c, accumulate)) {
    pointwise(a, b, c, bias, act);
    return true;
  }
  const bool half = a.dtype == DType::bf16;
  if (!good_for_dnnl(a)) a = half ? packed<bf16>(a, 0) : packed<float>(a, 0);
  if (!good_for_dnnl(b)) b = half ? packed<bf16>(b, 1) : packed<float>(b, 1);
  a = tidy(a);
  b = tidy(b);
  c = tidy(c);
  static thread_local DnnlCache<Product> cache;
  return dnnl_call("gemm", [&] {
    DnnlKey key;
    key.add(a).add(b).add(c).add(bias ? 1 + static_cast<int>(bias.dtype) : 0);
    key.add(static_cast<int>(act)).add(accumulate ? 1 : 0);
    Product& p = cache.get(key, [&] { return build(a, b, c, bias, act, accumulate); });
    if (half && !p.fast) return false;
    std::unordered_map<int, dnnl::memory> args{{DNNL_ARG_SRC, dnnl_memory(p.a, a.data)},
                                               {DNNL_ARG_WEIGHTS, dnnl_memory(p.b, b.data)},
                                               {DNNL_ARG_DST, dnnl_memory(p.c, c.data)}};
    if (bias) args.emplace(DNNL_ARG_BIAS, dnnl_memory(p.bias, bias.data));
    p.run.execute(dnnl_stream(), args);
    dnnl_stream().wait();
    return true;
  });
}

void gemm_bf16(const Gemm& g) {
  if (dnnl_multiplies_bf16() && gemm_dnnl(g.a, g.b, g.c, g.bias, g.act, g.accumulate)) return;
  Widened f;
  gemm_dnnl(f.in(g.a), f.in(g.b), g.accumulate ? f.in_out(g.c) : f.out(g.c), f.in(g.bias), g.act, g.accumulate);
  f.round_back();
}

double activate(Activation act, double v) {
  return act == Activation::relu ? std::max(v, 0.0) : act == Activation::gelu ? gelu(v) : v;
}

// c[m,n]: a row of c at a time, sums over k in order; b packed row-major.
void gemm_f64(const Gemm& g) {
  View a = g.a, b = g.b, c = g.c;
  flatten(a, b, c);
  b = packed<double>(b, 1);
  const std::int64_t m = c.dim(-2), n = c.dim(-1), k = a.dim(-1), batch = c.numel() / (m * n);
  const double* bias = g.bias ? g.bias.ptr<double>() : nullptr;
  parallel_for(batch * m, n * k, [&](std::int64_t begin, std::int64_t end) {
    double* row = scratch<double>(2, n);
    for (std::int64_t r = begin; r < end; ++r) {
      std::int64_t rest = r / m, ao = r % m * a.strides[-2], bo = 0, co = r % m * c.strides[-2];
      for (int d = c.ndim() - 3; d >= 0; --d) {
        const std::int64_t at = rest % c.dim(d);
        rest /= c.dim(d);
        if (a.dim(d) != 1) ao += at * a.strides[d];
        if (b.dim(d) != 1) bo += at * b.strides[d];
        co += at * c.strides[d];
      }
      std::fill_n(row, n, 0.0);
      for (std::int64_t l = 0; l < k; ++l) {
        const double v = a.ptr<double>()[ao + l * a.strides[-1]];
        const double* p = b.ptr<double>() + bo + l * n;
#pragma omp simd
        for (std::int64_t j = 0; j < n; ++j) row[j] += v * p[j];
      }
      double* out = c.ptr<double>() + co;
      for (std::int64_t j = 0; j < n; ++j) {
        const double v = activate(g.act, row[j] + (bias != nullptr ? bias[j] : 0.0));
        out[j] = g.accumulate ? out[j] + v : v;
      }
    }
  });
}

}  // namespace

void gemm(const Gemm& g) {
  const View &a = g.a, &b = g.b, &c = g.c;
  check_gemm(g);
  check(c.strides[-1] == 1 || c.dim(-1) <= 1, "gemm", "expected c with unit stride in n, got strides {}",
        c.strides.str());
  if (g.sums) reduce(gemm_sums(g));
  if (c.numel() == 0) return;
  if (a.dim(-1) == 0) {  // nothing to add up: act(bias)
    if (g.accumulate && !g.bias) return;
    check(!g.accumulate, "gemm", "a bias with k = 0 cannot be accumulated");
    View row = g.bias;
    if (row) {
      row.shape = c.shape;
      row.strides = c.strides;
      for (int d = 0; d < c.ndim(); ++d) row.strides[d] = d == c.ndim() - 1 ? 1 : 0;
    }
    copy({.x = row, .y = c});
    if (g.act != Activation::none)
      unary_fwd({.op = g.act == Activation::relu ? UnaryOp::relu : UnaryOp::gelu, .x = c, .y = c});
    return;
  }
  if (a.dtype == DType::f64)
    gemm_f64(g);
  else if (a.dtype == DType::bf16)
    gemm_bf16(g);
  else
    gemm_dnnl(a, b, c, g.bias, g.act, g.accumulate);
}

}  // namespace spn::kernels::cpu
