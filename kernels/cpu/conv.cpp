// Convolution through oneDNN. Activations stay channels-last; only weights are reordered, to the blocked layout that
// the chosen primitive prefers. Primitives are cached by shape. f64 takes plain loops: gradient checks only.
#include "kernels/checks/conv.h"

#include <vector>

#include "kernels/cpu/conv_columns.h"
#include "kernels/cpu/dnnl.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pointwise.h"
#include "kernels/cpu/widen.h"
#include "kernels/cpu/workspace.h"

namespace spn::kernels::cpu {
namespace {

using dnnl::memory;
using dt = memory::data_type;
using tag = memory::format_tag;
using i64 = std::int64_t;

struct Sizes {
  i64 n, c, h, w, o, kh, kw, oh, ow;
};

Sizes sizes(const ConvShape& conv, const View& x, const View& w, const View& y, const char* where) {
  check(x.is_channels_last() && y.is_channels_last() && w.ndim() == 4 && w.is_contiguous(), where,
        "expected channels-last [N,C,H,W] activations and contiguous [out,C,kh,kw] weights, got {}, {} and {}",
        x.shape.str(), y.shape.str(), w.shape.str());
  const Sizes s{x.dim(0), x.dim(1), x.dim(2), x.dim(3), w.dim(0), w.dim(2), w.dim(3), y.dim(2), y.dim(3)};
  check(w.dim(1) == s.c && y.dim(0) == s.n && y.dim(1) == s.o &&
            s.oh == (s.h + 2 * conv.pad_h() - s.kh) / conv.stride_h() + 1 &&
            s.ow == (s.w + 2 * conv.pad - s.kw) / conv.stride + 1,
        where, "shapes do not agree: x {}, w {}, y {}, stride {}, pad {}", x.shape.str(), w.shape.str(), y.shape.str(),
        conv.stride, conv.pad);
  return s;
}

// A primitive with its arguments: how each lies with the caller, and how the primitive wants it.
struct Plan {
  dnnl::primitive primitive;
  memory::desc scratchpad;
  struct Slot {
    int arg;
    memory::desc given, wanted;
    bool output, reordered;
    dnnl::reorder reorder;
  };
  std::vector<Slot> slots;

  void add(int arg, const memory::desc& given, const memory::desc& wanted, bool output) {
    Slot s{arg, given, wanted, output, given != wanted, {}};
    if (s.reordered) {
      const auto& e = dnnl_engine();
      s.reorder = dnnl::reorder(output ? dnnl::reorder::primitive_desc(e, wanted, e, given)
                                       : dnnl::reorder::primitive_desc(e, given, e, wanted));
    }
    slots.push_back(std::move(s));
  }
  // data: one pointer a slot, in order of add().
  void run(std::initializer_list<void*> data) const;
};

void Plan::run(std::initializer_list<void*> data) const {
  static thread_local Workspace pad, blocks;
  auto& stream = dnnl_stream();
  std::size_t bytes = 0;
  for (const Slot& s : slots)
    if (s.reordered) bytes += (s.wanted.get_size() + 63) / 64 * 64;
  auto* at = static_cast<std::byte*>(blocks.get(bytes));
  std::unordered_map<int, memory> args;
  std::vector<std::pair<const Slot*, memory>> back;
  auto pointer = data.begin();
  for (const Slot& s : slots) {
    memory user = dnnl_memory(s.given, *pointer++);
    if (!s.reordered) {
      args.emplace(s.arg, std::move(user));
      continue;
    }
    memory block = dnnl_memory(s.wanted, at);
    at += (s.wanted.get_size() + 63) / 64 * 64;
    if (s.output)
      back.emplace_back(&s, std::move(user));
    else
      s.reorder.execute(stream, user, block);
    args.emplace(s.arg, std::move(block));
  }
  args.emplace(DNNL_ARG_SCRATCHPAD, dnnl_memory(scratchpad, pad.get(scratchpad.get_size())));
  primitive.execute(stream, args);
  for (auto& [slot, user] : back) slot->reorder.execute(stream, args.at(slot->arg), user);
  stream.wait();
}

// The oneDNN side of one shape.
struct Problem {
  memory::dims src, wei, bias, dst, strides, padding;
  Problem(const ConvShape& conv, const Sizes& s)
      : src{s.n, s.c, s.h, s.w},
        wei{s.o, s.c, s.kh, s.kw},
        bias{s.o},
        dst{s.n, s.o, s.oh, s.ow},
        strides{conv.stride_h(), conv.stride},
        padding{conv.pad_h(), conv.pad} {}
  static memory::desc act(const memory::dims& d, dt t) { return {d, t, tag::nhwc}; }
  static memory::desc any(const memory::dims& d, dt t) { return {d, t, tag::any}; }
  static memory::desc plain(const memory::dims& d, dt t) { return {d, t, d.size() == 1 ? tag::a : tag::abcd}; }

  dnnl::convolution_forward::primitive_desc forward(dt t, bool with_bias, Activation fused = Activation::none) const {
    const auto in = act(src, t), w = any(wei, t), out = act(dst, t);
    using fwd = dnnl::convolution_forward;
    const auto kind = dnnl::prop_kind::forward_training;
    const auto how = dnnl::algorithm::convolution_direct;
    const auto d = with_bias ? fwd::desc(kind, how, in, w, plain(bias, dt::f32), out, strides, padding, padding)
                             : fwd::desc(kind, how, in, w, out, strides, padding, padding);
    dnnl::primitive_attr attr = user_scratchpad();
    dnnl::post_ops post;
    if (fused == Activation::relu) post.append_eltwise(1.F, dnnl::algorithm::eltwise_relu, 0.F, 0.F);
    if (fused == Activation::gelu) post.append_eltwise(1.F, dnnl::algorithm::eltwise_gelu_erf, 0.F, 0.F);
    attr.set_post_ops(post);
    return {d, attr, dnnl_engine()};
  }
  dnnl::convolution_backward_data::primitive_desc backward_data(dt t) const {
    using bwd = dnnl::convolution_backward_data;
    return {bwd::desc(dnnl::algorithm::convolution_direct, act(src, t), any(wei, t), act(dst, t), strides, padding,
                      padding),
            user_scratchpad(), dnnl_engine(), forward(t, false)};
  }
  dnnl::convolution_backward_weights::primitive_desc backward_weights(dt t, bool with_bias) const {
    using bwd = dnnl::convolution_backward_weights;
    const auto how = dnnl::algorithm::convolution_direct;
    // weight gradients in f32 also for bf16: they are sums over the whole batch
    const auto in = act(src, t), w = any(wei, dt::f32), out = act(dst, t);
    const auto d = with_bias ? bwd::desc(how, in, w, plain(bias, dt::f32), out, strides, padding, padding)
                             : bwd::desc(how, in, w, out, strides, padding, padding);
    return {d, user_scratchpad(), dnnl_engine(), forward(t, false)};
  }
  static dnnl::primitive_attr user_scratchpad() {
    dnnl::primitive_attr a;
    a.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return a;
  }
};

// make(dtype) for the given dtype, or in f32 where oneDNN has no primitive for bf16 on a CPU that multiplies it
// (reorders convert then).
template <class Make>
Plan native_or_f32(dt t, Make&& make) {
  if (t == dt::bf16) {
    try {
      return make(dt::bf16);
    } catch (const dnnl::error& e) {
      if (e.status != dnnl_unimplemented) throw;
    }
  }
  return make(dt::f32);
}

DnnlKey key_of(const ConvShape& c, const Sizes& s, std::initializer_list<const View*> views) {
  DnnlKey key;
  key.add(c.stride).add(c.pad).add(c.one_dim);
  for (i64 v : {s.n, s.c, s.h, s.w, s.o, s.kh, s.kw, s.oh, s.ow}) key.add(v);
  for (const View* v : views) key.add(*v ? static_cast<i64>(v->dtype) : -1);
  key.add(omp_get_max_threads());
  return key;
}

const Plan& forward_plan(const ConvFwd& o, const Sizes& s, Activation act = Activation::none) {
  static thread_local DnnlCache<Plan> cache;
  return cache.get(key_of(o.conv, s, {&o.x, &o.w, &o.bias}).add(static_cast<int>(act)), [&] {
    const Problem p(o.conv, s);
    return native_or_f32(dnnl_type(o.x.dtype), [&](dt t) {
      const auto pd = p.forward(t, static_cast<bool>(o.bias), act);
      Plan plan{dnnl::convolution_forward(pd), pd.scratchpad_desc(), {}};
      plan.add(DNNL_ARG_SRC, Problem::act(p.src, dnnl_type(o.x.dtype)), pd.src_desc(), false);
      plan.add(DNNL_ARG_WEIGHTS, Problem::plain(p.wei, dnnl_type(o.w.dtype)), pd.weights_desc(), false);
      plan.add(DNNL_ARG_DST, Problem::act(p.dst, dnnl_type(o.x.dtype)), pd.dst_desc(), true);
      if (o.bias) plan.add(DNNL_ARG_BIAS, Problem::plain(p.bias, dnnl_type(o.bias.dtype)), pd.bias_desc(), false);
      return plan;
    });
  });
}

const Plan& data_plan(const ConvBwd& o, const Sizes& s) {
  static thread_local DnnlCache<Plan> cache;
  return cache.get(key_of(o.conv, s, {&o.dy, &o.w}), [&] {
    const Problem p(o.conv, s);
    return native_or_f32(dnnl_type(o.dy.dtype), [&](dt t) {
      const auto pd = p.backward_data(t);
      Plan plan{dnnl::convolution_backward_data(pd), pd.scratchpad_desc(), {}};
      plan.add(DNNL_ARG_DIFF_DST, Problem::act(p.dst, dnnl_type(o.dy.dtype)), pd.diff_dst_desc(), false);
      plan.add(DNNL_ARG_WEIGHTS, Problem::plain(p.wei, dnnl_type(o.w.dtype)), pd.weights_desc(), false);
      plan.add(DNNL_ARG_DIFF_SRC, Problem::act(p.src, dnnl_type(o.dy.dtype)), pd.diff_src_desc(), true);
      return plan;
    });
  });
}

const Plan& weights_plan(const ConvBwd& o, const Sizes& s) {
  static thread_local DnnlCache<Plan> cache;
  return cache.get(key_of(o.conv, s, {&o.x, &o.dw, &o.db}), [&] {
    const Problem p(o.conv, s);
    return native_or_f32(dnnl_type(o.x.dtype), [&](dt t) {
      const auto pd = p.backward_weights(t, static_cast<bool>(o.db));
      Plan plan{dnnl::convolution_backward_weights(pd), pd.scratchpad_desc(), {}};
      plan.add(DNNL_ARG_SRC, Problem::act(p.src, dnnl_type(o.x.dtype)), pd.src_desc(), false);
      plan.add(DNNL_ARG_DIFF_DST, Problem::act(p.dst, dnnl_type(o.dy.dtype)), pd.diff_dst_desc(), false);
      plan.add(DNNL_ARG_DIFF_WEIGHTS, Problem::plain(p.wei, dnnl_type(o.dw.dtype)), pd.diff_weights_desc(), true);
      if (o.db) plan.add(DNNL_ARG_DIFF_BIAS, Problem::plain(p.bias, dnnl_type(o.db.dtype)), pd.diff_bias_desc(), true);
      return plan;
    });
  });
}

// The gradient of x where the convolution is a product. Measured per shape of the tiny ResNet (oneDNN 2.6, AVX-512,
// docs/benchmarks): here the product is faster (1.0-1.5 x); forward and for the gradient of w oneDNN's own convolution
// is as fast or faster.
void backward_data_product(const ConvBwd& v, const Sizes& s) {
  const auto status = dnnl_sgemm('N', 'N', s.n * s.h * s.w, s.c, s.o, 1.0F, v.dy.ptr<float>(), s.o, v.w.ptr<float>(),
                                 s.c, v.accumulate_dx ? 1.0F : 0.0F, v.dx.ptr<float>(), s.c);
  check(status == dnnl_success, "conv_bwd", "oneDNN's sgemm failed with status {}", static_cast<int>(status));
}
// The same in bf16 that the CPU multiplies.
void backward_data_onto(const ConvBwd& v, const Sizes& s) {
  const auto matrix = [](View m, i64 rows, i64 columns) {
    m.shape = {rows, columns};
    m.strides = {columns, 1};
    return m;
  };
  const i64 pixels = s.n * s.h * s.w;
  gemm(
      {.a = matrix(v.dy, pixels, s.o), .b = matrix(v.w, s.o, s.c), .c = matrix(v.dx, pixels, s.c), .accumulate = true});
}

// Calls f(offset in x, offset in w, offset in y) for all products of the convolution, images [n0, n1), outputs [o0,
// o1).
template <class F>
void products(const ConvShape& conv, const Sizes& s, i64 n0, i64 n1, i64 o0, i64 o1, F&& f) {
  for (i64 n = n0; n < n1; ++n)
    for (i64 i = 0; i < s.oh; ++i)
      for (i64 j = 0; j < s.ow; ++j)
        for (i64 a = 0; a < s.kh; ++a)
          for (i64 b = 0; b < s.kw; ++b) {
            const i64 h = i * conv.stride_h() - conv.pad_h() + a, w = j * conv.stride - conv.pad + b;
            if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
            for (i64 o = o0; o < o1; ++o)
              for (i64 c = 0; c < s.c; ++c)
                f(((n * s.h + h) * s.w + w) * s.c + c, ((o * s.c + c) * s.kh + a) * s.kw + b,
                  ((n * s.oh + i) * s.ow + j) * s.o + o);
          }
}

void forward_f64(const ConvFwd& v, const Sizes& s) {
  const double *x = v.x.ptr<double>(), *w = v.w.ptr<double>(), *bias = v.bias ? v.bias.ptr<double>() : nullptr;
  double* y = v.y.ptr<double>();
  const i64 pixels = s.n * s.oh * s.ow;
  for (i64 p = 0; p < pixels; ++p)
    for (i64 o = 0; o < s.o; ++o) y[p * s.o + o] = bias != nullptr ? bias[o] : 0.0;
  parallel_for(s.n, s.oh * s.ow * s.o * s.c * s.kh * s.kw, [&](i64 from, i64 to) {
    products(v.conv, s, from, to, 0, s.o, [&](i64 ix, i64 iw, i64 iy) { y[iy] += x[ix] * w[iw]; });
  });
}

void backward_f64(const ConvBwd& v, const Sizes& s) {
  const double *x = v.x ? v.x.ptr<double>() : nullptr, *w = v.w.ptr<double>(), *dy = v.dy.ptr<double>();
  const i64 cost = s.oh * s.ow * s.c * s.kh * s.kw;
  if (v.dx) {
    double* dx = v.dx.ptr<double>();
    if (!v.accumulate_dx) std::fill_n(dx, s.n * s.c * s.h * s.w, 0.0);
    parallel_for(s.n, cost * s.o, [&](i64 from, i64 to) {
      products(v.conv, s, from, to, 0, s.o, [&](i64 ix, i64 iw, i64 iy) { dx[ix] += dy[iy] * w[iw]; });
    });
  }
  if (v.dw) {
    double* dw = v.dw.ptr<double>();
    std::fill_n(dw, s.o * s.c * s.kh * s.kw, 0.0);
    parallel_for(s.o, cost * s.n, [&](i64 from, i64 to) {
      products(v.conv, s, 0, s.n, from, to, [&](i64 ix, i64 iw, i64 iy) { dw[iw] += x[ix] * dy[iy]; });
    });
  }
  if (v.db) {
    double* db = v.db.ptr<double>();
    std::fill_n(db, s.o, 0.0);
    for (i64 p = 0; p < s.n * s.oh * s.ow; ++p)
      for (i64 o = 0; o < s.o; ++o) db[o] += dy[p * s.o + o];
  }
}

// Where no product gives it on the way.
void bias_gradient(const View& dy, const View& db) {
  View rows = dy, sum = db;
  rows.shape = {dy.dim(0) * dy.dim(2) * dy.dim(3), dy.dim(1)};
  rows.strides = contiguous_strides(rows.shape);
  sum.shape = {1, db.dim(0)};
  sum.strides = {db.dim(0), 1};
  reduce({.kind = ReduceKind::sum, .x = rows, .y = sum});
}

void zero(const View& v) {
  if (v) std::memset(v.data, 0, v.bytes());
}

}  // namespace

void conv_fwd(const ConvFwd& o) {
  const Sizes s = sizes(o.conv, o.x, o.w, o.y, "conv_fwd");
  if (o.y.numel() == 0) return;
  if (o.x.dtype == DType::f64) return forward_f64(o, s);
  if (o.x.dtype == DType::bf16 && !dnnl_multiplies_bf16()) {
    Widened f;
    conv_fwd({.conv = o.conv, .x = f.in(o.x), .w = f.in(o.w), .bias = f.in(o.bias), .y = f.out(o.y)});
    return f.round_back();
  }
  if (columns_win(ConvPass::forward, o.conv, o.x, o.w, static_cast<bool>(o.bias))) return conv_columns_fwd(o);
  dnnl_call("conv_fwd", [&] { forward_plan(o, s).run({o.x.data, o.w.data, o.y.data, o.bias.data}); });
}

bool pointwise_wins(const View& a, const View& b, const View& c, bool accumulate) {
  constexpr i64 kRows = 256, kWidth = 64;
  return !dnnl_has_avx512() && !accumulate && c.ndim() == 2 && a.dtype == DType::f32 && a.is_contiguous() &&
         c.is_contiguous() && b.strides[0] == 1 && b.strides[1] == b.dim(0) && c.dim(0) >= kRows &&
         b.dim(0) >= kWidth && b.dim(1) >= kWidth;
}

void pointwise(const View& a, const View& b, const View& c, const View& bias, Activation act) {
  // m pixels in a line, channels last
  const auto line = [](const View& v) {
    View p = v;
    p.shape = {1, v.dim(1), 1, v.dim(0)};
    p.strides = {v.numel(), 1, v.numel(), v.dim(1)};
    return p;
  };
  View w = b;
  w.shape = {b.dim(1), b.dim(0), 1, 1};
  w.strides = contiguous_strides(w.shape);
  const ConvFwd o{.conv = {}, .x = line(a), .w = w, .bias = bias, .y = line(c)};
  const Sizes s = sizes(o.conv, o.x, o.w, o.y, "gemm");
  dnnl_call("gemm", [&] { forward_plan(o, s, act).run({o.x.data, o.w.data, o.y.data, o.bias.data}); });
}

void conv_bwd(const ConvBwd& o) {
  check_accumulation(o);
  const View& x = o.x ? o.x : o.dx;
  const Sizes s = sizes(o.conv, x, o.w, o.dy, "conv_bwd");
  if (o.dy.numel() == 0 || x.numel() == 0) {
    if (!o.accumulate_dx) zero(o.dx);
    zero(o.dw);
    zero(o.db);
    return;
  }
  if (o.dy.dtype == DType::f64) return backward_f64(o, s);
  if (o.dy.dtype == DType::bf16 && !dnnl_multiplies_bf16()) {
    Widened f;
    conv_bwd({.conv = o.conv,
              .x = o.dw ? f.in(o.x) : o.x,  // else only its shape is read
              .w = f.in(o.w),
              .dy = f.in(o.dy),
              .dx = o.accumulate_dx ? f.in_out(o.dx) : f.out(o.dx),
              .dw = f.out(o.dw),
              .db = f.out(o.db),
              .accumulate_dx = o.accumulate_dx});
    return f.round_back();
  }
  if (o.db && !o.dw) bias_gradient(o.dy, o.db);
  dnnl_call("conv_bwd", [&] {
    if (o.dx && columns_win(ConvPass::data, o.conv, o.dx, o.w, false)) {
      conv_columns_data(o);
    } else if (o.dx && is_product(o.conv, o.w) && o.dy.dtype == DType::f32) {
      backward_data_product(o, s);
    } else if (o.dx && o.accumulate_dx) {
      backward_data_onto(o, s);
    } else if (o.dx) {
      data_plan(o, s).run({o.dy.data, o.w.data, o.dx.data});
    }
    if (o.dw && columns_win(ConvPass::weights, o.conv, o.x, o.w, static_cast<bool>(o.db)))
      conv_columns_weights(o);
    else if (o.dw)
      weights_plan(o, s).run({o.x.data, o.dy.data, o.dw.data, o.db.data});
  });
}

}  // namespace spn::kernels::cpu
