// Convolutions by cuDNN, channels-last; 1x1 ones with stride 1 are matrix products. cuDNN's channels-last filters are
// [out,kh,kw,in] and ours [out,in,kh,kw], so filters of more than one pixel go through scratch (they are small beside
// activations). f64, for checks, runs in cuDNN's other layout. Only deterministic algorithms; chosen once a problem.
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lib/handles.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{1} << 30;  // an algorithm may ask for at most this

using TensorShape = Owned<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterShape = Owned<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using Convolution = Owned<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

enum class Pass : int { forward, data, filter };

struct Problem {
  int n, c, h, w, out, kh, kw, oh, ow, pad_h, pad_w, stride_h, stride_w;
  DType dtype;
  bool tf32;
  auto key(Pass pass) const {
    return std::tuple(n, c, h, w, out, kh, kw, oh, ow, pad_h, pad_w, stride_h, stride_w, dtype, tf32, pass);
  }
  bool is_product() const { return kh == 1 && kw == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0; }
  cudnnTensorFormat_t format() const { return dtype == DType::f64 ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC; }
};

struct Plan {
  TensorShape x, y, bias;
  FilterShape w;
  Convolution convolution;
  int algorithm = -1;
  std::size_t workspace = 0;
};

cudnnDataType_t type_of(DType t) {
  switch (t) {
    case DType::f32: return CUDNN_DATA_FLOAT;
    case DType::f64: return CUDNN_DATA_DOUBLE;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    default: fail("conv", "expected a floating dtype, got {}", name_of(t));
  }
}

Problem problem_of(const ConvShape& conv, const View& x, const View& w, const View& y) {
  const auto i = [](std::int64_t v) {
    check(v <= 0x7fffffff, "conv", "an extent of {} is beyond cuDNN's", v);
    return static_cast<int>(v);
  };
  check(x.ndim() == 4 && w.ndim() == 4 && y.ndim() == 4 && w.dim(1) == x.dim(1) && y.dim(1) == w.dim(0), "conv",
        "shapes {} * {} = {} do not fit", x.shape.str(), w.shape.str(), y.shape.str());
  check(x.is_channels_last() && y.is_channels_last() && w.is_contiguous(), "conv",
        "expected channels-last activations and contiguous weights, got strides {}, {} and {}", x.strides.str(),
        y.strides.str(), w.strides.str());
  return {.n = i(x.dim(0)),
          .c = i(x.dim(1)),
          .h = i(x.dim(2)),
          .w = i(x.dim(3)),
          .out = i(w.dim(0)),
          .kh = i(w.dim(2)),
          .kw = i(w.dim(3)),
          .oh = i(y.dim(2)),
          .ow = i(y.dim(3)),
          .pad_h = conv.pad_h(),
          .pad_w = conv.pad,
          .stride_h = conv.stride_h(),
          .stride_w = conv.stride,
          .dtype = y.dtype,
          .tf32 = tf32_allowed() && y.dtype == DType::f32};
}

template <class Descriptor, class Create>
typename Descriptor::pointer made(Descriptor& into, Create create) {
  typename Descriptor::pointer p = nullptr;
  expect(create(&p), "conv");
  into.reset(p);
  return p;
}

// The first deterministic candidate that fits; without one the plan stays without an algorithm.
template <class Perf>
void choose(Plan& plan, const std::vector<Perf>& found, int count) {
  for (int i = 0; i < count && plan.algorithm < 0; ++i) {
    const Perf& p = found[static_cast<std::size_t>(i)];
    if (p.status != CUDNN_STATUS_SUCCESS || p.determinism != CUDNN_DETERMINISTIC || p.memory > kWorkspace) continue;
    plan.algorithm = static_cast<int>(p.algo);
    plan.workspace = p.memory;
    expect(cudnnSetConvolutionMathType(plan.convolution.get(), p.mathType), "conv");
  }
}

Plan make_plan(const Problem& p, Pass pass) {
  Plan plan;
  const cudnnDataType_t type = type_of(p.dtype), compute = p.dtype == DType::f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
  const auto x = made(plan.x, cudnnCreateTensorDescriptor), y = made(plan.y, cudnnCreateTensorDescriptor),
             bias = made(plan.bias, cudnnCreateTensorDescriptor);
  const auto w = made(plan.w, cudnnCreateFilterDescriptor);
  const auto conv = made(plan.convolution, cudnnCreateConvolutionDescriptor);
  expect(cudnnSetTensor4dDescriptor(x, p.format(), type, p.n, p.c, p.h, p.w), "conv");
  expect(cudnnSetTensor4dDescriptor(y, p.format(), type, p.n, p.out, p.oh, p.ow), "conv");
  expect(cudnnSetTensor4dDescriptor(bias, p.format(), type, 1, p.out, 1, 1), "conv");
  expect(cudnnSetFilter4dDescriptor(w, type, p.format(), p.out, p.c, p.kh, p.kw), "conv");
  expect(cudnnSetConvolution2dDescriptor(conv, p.pad_h, p.pad_w, p.stride_h, p.stride_w, 1, 1, CUDNN_CROSS_CORRELATION,
                                         compute),
         "conv");
  expect(cudnnSetConvolutionMathType(conv, p.dtype == DType::f32 && !p.tf32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH),
         "conv");
  int count = 0;
  if (pass == Pass::forward) {
    std::vector<cudnnConvolutionFwdAlgoPerf_t> found(CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
    expect(cudnnGetConvolutionForwardAlgorithm_v7(cudnn(), x, w, conv, y, static_cast<int>(found.size()), &count,
                                                  found.data()),
           "conv");
    choose(plan, found, count);
  } else if (pass == Pass::data) {
    std::vector<cudnnConvolutionBwdDataAlgoPerf_t> found(CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
    expect(cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnn(), w, y, conv, x, static_cast<int>(found.size()), &count,
                                                       found.data()),
           "conv");
    choose(plan, found, count);
  } else {
    std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> found(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
    expect(cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnn(), x, y, conv, w, static_cast<int>(found.size()), &count,
                                                         found.data()),
           "conv");
    choose(plan, found, count);
  }
  return plan;
}

const Plan& plan_for(const Problem& p, Pass pass) {
  static std::mutex mutex;
  static auto& plans = *new std::map<decltype(p.key(pass)), Plan>;  // with the handle, until the process ends
  const std::lock_guard lock(mutex);
  if (const auto it = plans.find(p.key(pass)); it != plans.end()) return it->second;
  return plans.emplace(p.key(pass), make_plan(p, pass)).first->second;
}

// bf16 that cuDNN has no algorithm for (few channels, large strides) goes through f32.
bool must_widen(const Problem& p, const Plan& plan) {
  if (plan.algorithm >= 0) return false;
  check(p.dtype == DType::bf16, "conv", "cuDNN has no deterministic algorithm for {} [{},{},{},{}] by {} filters {}x{}",
        name_of(p.dtype), p.n, p.c, p.h, p.w, p.out, p.kh, p.kw);
  return true;
}

// Memory for what goes through cuDNN's layout: one scratch allocation, cut up.
class Cut {
 public:
  explicit Cut(std::size_t bytes, Scratch user = Scratch::layout)
      : at_(static_cast<std::byte*>(scratch(user, bytes))) {}
  static std::size_t room(const View& v) { return (v.bytes() + 255) / 256 * 256; }
  // A view of v's shape in the memory order that cuDNN wants, in `dtype`.
  View take(const View& v, bool channels_last, DType dtype) {
    View r = v;
    r.dtype = dtype;
    r.data = at_;
    r.strides = channels_last ? channels_last_strides(v.shape) : contiguous_strides(v.shape);
    at_ += room(r);
    return r;
  }

 private:
  std::byte* at_;
};

// [n,c,h,w] channels-last as the matrix [n·h·w, c].
View pixels(const View& v) {
  View m = v;
  m.shape = {v.dim(0) * v.dim(2) * v.dim(3), v.dim(1)};
  m.strides = contiguous_strides(m.shape);
  return m;
}
// [out,in,1,1] as [out,in], and transposed.
View filter_matrix(const View& w, bool transposed) {
  View m = w;
  const std::int64_t out = w.dim(0), in = w.dim(1);
  m.shape = transposed ? Shape{in, out} : Shape{out, in};
  m.strides = transposed ? Shape{1, in} : Shape{in, 1};
  return m;
}
View transposed(View m) {
  std::swap(m.shape[0], m.shape[1]);
  std::swap(m.strides[0], m.strides[1]);
  return m;
}

// Copies in f32; absent views stay absent.
class Wide {
 public:
  explicit Wide(std::initializer_list<const View*> views) : cut_(room(views), Scratch::widened) {}
  View in(const View& v) {
    const View w = out(v);
    if (v) copy({.x = v, .y = w});
    return w;
  }
  View out(const View& v) { return v ? cut_.take(v, v.ndim() == 4 && !v.is_contiguous(), DType::f32) : View(); }

 private:
  static std::size_t room(std::initializer_list<const View*> views) {
    std::size_t bytes = 0;
    for (const View* v : views)
      if (*v) bytes += (static_cast<std::size_t>(v->numel()) * sizeof(float) + 255) / 256 * 256;
    return bytes;
  }
  Cut cut_;
};

struct Factors {
  float one = 1, zero = 0;
  double one64 = 1, zero64 = 0;
  bool wide;
  explicit Factors(DType t) : wide(t == DType::f64) {}
  const void* alpha() const { return wide ? static_cast<const void*>(&one64) : &one; }
  const void* beta() const { return wide ? static_cast<const void*>(&zero64) : &zero; }
};

void bias_gradient(const View& dy, const View& db) {
  View sum = db;
  sum.shape = {1, db.dim(0)};
  sum.strides = {db.dim(0), 1};
  reduce({.kind = ReduceKind::sum, .x = pixels(dy), .y = sum});
}

}  // namespace

void conv_fwd(const ConvFwd& o) {
  const Problem p = problem_of(o.conv, o.x, o.w, o.y);
  if (o.y.numel() == 0) return;
  if (p.is_product()) return gemm({.a = pixels(o.x), .b = filter_matrix(o.w, true), .c = pixels(o.y), .bias = o.bias});
  const Plan& plan = plan_for(p, Pass::forward);
  if (must_widen(p, plan)) {
    Wide f({&o.x, &o.w, &o.bias, &o.y});
    const View y = f.out(o.y);
    conv_fwd({.conv = o.conv, .x = f.in(o.x), .w = f.in(o.w), .bias = f.in(o.bias), .y = y});
    return copy({.x = y, .y = o.y});
  }
  const bool wide = p.dtype == DType::f64;
  Cut cut(Cut::room(o.w) + (o.bias ? 256 + o.bias.bytes() : 0) + (wide ? Cut::room(o.x) + Cut::room(o.y) : 0));
  View x = o.x, w = o.w, y = o.y, bias = o.bias;
  if (wide) {
    x = cut.take(o.x, false, p.dtype), y = cut.take(o.y, false, p.dtype);
    copy({.x = o.x, .y = x});
  } else if (p.kh * p.kw > 1) {
    w = cut.take(o.w, true, p.dtype);
    copy({.x = o.w, .y = w});
  }
  const Factors f(p.dtype);
  expect(
      cudnnConvolutionForward(cudnn(), f.alpha(), plan.x.get(), x.data, plan.w.get(), w.data, plan.convolution.get(),
                              static_cast<cudnnConvolutionFwdAlgo_t>(plan.algorithm),
                              scratch(Scratch::conv, plan.workspace), plan.workspace, f.beta(), plan.y.get(), y.data),
      "conv_fwd");
  if (bias) {
    if (bias.dtype != p.dtype) {  // f32 beside bf16
      View same = bias;
      same.shape = {1, bias.dim(0), 1, 1};
      same = cut.take(same, false, p.dtype);
      View from = bias;
      from.shape = same.shape, from.strides = same.strides;
      copy({.x = from, .y = same});
      bias = same;
    }
    expect(cudnnAddTensor(cudnn(), f.alpha(), plan.bias.get(), bias.data, f.alpha(), plan.y.get(), y.data), "conv_fwd");
  }
  if (wide) copy({.x = y, .y = o.y});
}

void conv_bwd(const ConvBwd& o) {
  const View& x = o.x ? o.x : o.dx;  // dx alone needs x's shape only
  const Problem p = problem_of(o.conv, x, o.w, o.dy);
  if (o.dy.numel() == 0 || x.numel() == 0) {
    for (const View* v : {&o.dx, &o.dw, &o.db})
      if (*v) copy({.value = 0, .y = *v});
    return;
  }
  if (o.db) bias_gradient(o.dy, o.db);
  if (p.is_product()) {
    if (o.dx) gemm({.a = pixels(o.dy), .b = filter_matrix(o.w, false), .c = pixels(o.dx)});
    if (o.dw) gemm({.a = transposed(pixels(o.dy)), .b = pixels(o.x), .c = filter_matrix(o.dw, false)});
    return;
  }
  if ((o.dx && must_widen(p, plan_for(p, Pass::data))) || (o.dw && must_widen(p, plan_for(p, Pass::filter)))) {
    Wide f({&o.x, &o.w, &o.dy, &o.dx, &o.dw});
    const View dx = f.out(o.dx), dw = f.out(o.dw), from = o.dw ? f.in(o.x) : o.x;
    conv_bwd({.conv = o.conv, .x = from, .w = f.in(o.w), .dy = f.in(o.dy), .dx = dx, .dw = dw, .db = {}});
    if (o.dx) copy({.x = dx, .y = o.dx});
    if (o.dw) copy({.x = dw, .y = o.dw});
    return;
  }
  const bool wide = p.dtype == DType::f64;
  Cut cut(2 * Cut::room(o.w) + (wide ? 2 * Cut::room(x) + Cut::room(o.dy) : 0));
  View dy = o.dy;
  if (wide) {
    dy = cut.take(o.dy, false, p.dtype);
    copy({.x = o.dy, .y = dy});
  }
  const Factors f(p.dtype);
  if (o.dx) {
    const Plan& plan = plan_for(p, Pass::data);
    View w = o.w, dx = o.dx;
    if (wide) {
      dx = cut.take(o.dx, false, p.dtype);
    } else if (p.kh * p.kw > 1) {
      w = cut.take(o.w, true, p.dtype);
      copy({.x = o.w, .y = w});
    }
    expect(cudnnConvolutionBackwardData(
               cudnn(), f.alpha(), plan.w.get(), w.data, plan.y.get(), dy.data, plan.convolution.get(),
               static_cast<cudnnConvolutionBwdDataAlgo_t>(plan.algorithm), scratch(Scratch::conv, plan.workspace),
               plan.workspace, f.beta(), plan.x.get(), dx.data),
           "conv_bwd");
    if (wide) copy({.x = dx, .y = o.dx});
  }
  if (o.dw) {
    const Plan& plan = plan_for(p, Pass::filter);
    View from = o.x, dw = o.dw;
    if (wide) {
      from = cut.take(o.x, false, p.dtype);
      copy({.x = o.x, .y = from});
    } else if (p.kh * p.kw > 1 || o.dw.dtype != p.dtype) {
      // bf16: cuDNN rounds the finished sums once, as PyTorch's mixed precision does
      dw = cut.take(o.dw, true, p.dtype);
    }
    expect(cudnnConvolutionBackwardFilter(
               cudnn(), f.alpha(), plan.x.get(), from.data, plan.y.get(), dy.data, plan.convolution.get(),
               static_cast<cudnnConvolutionBwdFilterAlgo_t>(plan.algorithm), scratch(Scratch::conv, plan.workspace),
               plan.workspace, f.beta(), plan.w.get(), dw.data),
           "conv_bwd");
    if (dw.data != o.dw.data) copy({.x = dw, .y = o.dw});
  }
}

}  // namespace spn::kernels::cuda
