// Convolutions by cuDNN. The candidates of its heuristics are kept a problem and pass, best first; one that is refused
// when it is called is struck off.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/core/log.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/lib/convolution.h"
#include "kernels/cuda/lib/handles.h"
#include "kernels/cuda/lib/tune.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{1} << 30;  // an algorithm may ask for at most this

using TensorShape = Owned<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterShape = Owned<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using Descriptor = Owned<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

struct Candidate {
  int algorithm;
  std::size_t workspace;
  cudnnMathType_t math;
  bool fixed_order;
};

struct Plan {
  TensorShape x, y;
  FilterShape w;
  Descriptor convolution;
  std::vector<Candidate> candidates;
  bool tuned = false;

  auto best(Order order) {
    return std::find_if(candidates.begin(), candidates.end(),
                        [&](const Candidate& c) { return c.fixed_order || order == Order::any; });
  }
};

cudnnDataType_t type_of(DType t) {
  switch (t) {
    case DType::f32: return CUDNN_DATA_FLOAT;
    case DType::f64: return CUDNN_DATA_DOUBLE;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    default: fail("conv", "expected a floating dtype, got {}", name_of(t));
  }
}

// DEFAULT_MATH lets f32 be computed in TF32, FMA_MATH does not (NVIDIA's words on cudnnMathType_t); bf16 asks for the
// units that are made for it.
cudnnMathType_t math_of(const Convolution& p) {
  if (p.dtype == DType::bf16) return CUDNN_TENSOR_OP_MATH;
  return p.tf32 || p.dtype == DType::f64 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

template <class D, class Create>
typename D::pointer made(D& into, Create create) {
  typename D::pointer p = nullptr;
  expect(create(&p), "conv");
  into.reset(p);
  return p;
}

template <class Perf>
void keep(const Convolution& p, Plan& plan, const std::vector<Perf>& found, int count) {
  for (int i = 0; i < count; ++i) {
    const Perf& f = found[static_cast<std::size_t>(i)];
    if (f.status != CUDNN_STATUS_SUCCESS || f.memory > kWorkspace) continue;
    // whatever is proposed: fp32 that may not lose bits does not
    const cudnnMathType_t math = p.dtype == DType::f32 && !p.tf32 ? CUDNN_FMA_MATH : f.mathType;
    plan.candidates.push_back({static_cast<int>(f.algo), f.memory, math, f.determinism == CUDNN_DETERMINISTIC});
  }
}

Plan make_plan(const Convolution& p, Pass pass) {
  Plan plan;
  const cudnnTensorFormat_t format = p.channels_last() ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
  const cudnnDataType_t type = type_of(p.dtype), compute = p.dtype == DType::f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
  const auto x = made(plan.x, cudnnCreateTensorDescriptor), y = made(plan.y, cudnnCreateTensorDescriptor);
  const auto w = made(plan.w, cudnnCreateFilterDescriptor);
  const auto conv = made(plan.convolution, cudnnCreateConvolutionDescriptor);
  expect(cudnnSetTensor4dDescriptor(x, format, type, p.n, p.c, p.h, p.w), "conv");
  expect(cudnnSetTensor4dDescriptor(y, format, type, p.n, p.out, p.oh, p.ow), "conv");
  expect(cudnnSetFilter4dDescriptor(w, type, format, p.out, p.c, p.kh, p.kw), "conv");
  expect(cudnnSetConvolution2dDescriptor(conv, p.pad_h, p.pad_w, p.stride_h, p.stride_w, 1, 1, CUDNN_CROSS_CORRELATION,
                                         compute),
         "conv");
  expect(cudnnSetConvolutionMathType(conv, math_of(p)), "conv");
  // A refusal here is an empty list: what then is to be done is conv.cpp's to say.
  const auto ask = [&](auto perf, int most, auto get, auto... shapes) {
    std::vector<decltype(perf)> found(static_cast<std::size_t>(most));
    int count = 0;
    const cudnnStatus_t status = get(cudnn(), shapes..., most, &count, found.data());
    if (status == CUDNN_STATUS_SUCCESS)
      keep(p, plan, found, count);
    else
      log::debug("conv: no candidates: {}", cudnnGetErrorString(status));
  };
  if (pass == Pass::forward)
    ask(cudnnConvolutionFwdAlgoPerf_t{}, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, cudnnGetConvolutionForwardAlgorithm_v7, x, w,
        conv, y);
  else if (pass == Pass::data)
    ask(cudnnConvolutionBwdDataAlgoPerf_t{}, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
        cudnnGetConvolutionBackwardDataAlgorithm_v7, w, y, conv, x);
  else
    ask(cudnnConvolutionBwdFilterAlgoPerf_t{}, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT,
        cudnnGetConvolutionBackwardFilterAlgorithm_v7, x, y, conv, w);
  return plan;
}

Plan& plan_for(const Convolution& p, Pass pass) {
  static std::mutex mutex;
  using Key = std::pair<decltype(p.key()), Pass>;
  static auto& plans = *new std::map<Key, Plan>;  // with the handle, until the process ends
  const std::lock_guard lock(mutex);
  const Key key(p.key(), pass);
  if (const auto it = plans.find(key); it != plans.end()) return it->second;
  return plans.emplace(key, make_plan(p, pass)).first->second;
}

struct Factors {
  float one = 1, zero = 0;
  double one64 = 1, zero64 = 0;
  bool wide;
  explicit Factors(DType t) : wide(t == DType::f64) {}
  const void* alpha() const { return wide ? static_cast<const void*>(&one64) : &one; }
  const void* beta() const { return wide ? static_cast<const void*>(&zero64) : &zero; }
};

cudnnStatus_t call(const Plan& plan, const Candidate& c, const Factors& f, Pass pass, void* x, void* w, void* y) {
  void* workspace = c.workspace == 0 ? nullptr : scratch(Scratch::conv, c.workspace);
  if (pass == Pass::forward)
    return cudnnConvolutionForward(cudnn(), f.alpha(), plan.x.get(), x, plan.w.get(), w, plan.convolution.get(),
                                   static_cast<cudnnConvolutionFwdAlgo_t>(c.algorithm), workspace, c.workspace,
                                   f.beta(), plan.y.get(), y);
  if (pass == Pass::data)
    return cudnnConvolutionBackwardData(cudnn(), f.alpha(), plan.w.get(), w, plan.y.get(), y, plan.convolution.get(),
                                        static_cast<cudnnConvolutionBwdDataAlgo_t>(c.algorithm), workspace, c.workspace,
                                        f.beta(), plan.x.get(), x);
  return cudnnConvolutionBackwardFilter(cudnn(), f.alpha(), plan.x.get(), x, plan.y.get(), y, plan.convolution.get(),
                                        static_cast<cudnnConvolutionBwdFilterAlgo_t>(c.algorithm), workspace,
                                        c.workspace, f.beta(), plan.w.get(), w);
}

}  // namespace

bool can_convolve(const Convolution& p, Pass pass, Order order) {
  Plan& plan = plan_for(p, pass);
  return plan.best(order) != plan.candidates.end();
}

bool convolve(const Convolution& p, Pass pass, Order order, void* x, void* w, void* y) {
  Plan& plan = plan_for(p, pass);
  const Factors f(p.dtype);
  const auto done = [&](const Candidate& c) {
    cudnnStatus_t status = cudnnSetConvolutionMathType(plan.convolution.get(), c.math);
    if (status == CUDNN_STATUS_SUCCESS) status = call(plan, c, f, pass, x, w, y);
    if (status == CUDNN_STATUS_SUCCESS) return true;
    if (is_out_of_memory(status)) fail_cudnn(status, "conv");  // no word on the algorithm
    const bool failed = CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_EXECUTION_FAILED;
    if (failed && !only_refused("conv")) fail_cudnn(status, "conv");
    log::write(
        failed ? log::Level::warn : log::Level::debug,
        fmt::format("conv: {} [{},{},{},{}] by {} filters {}x{}: algorithm {} was refused ({})", name_of(p.dtype), p.n,
                    p.c, p.h, p.w, p.out, p.kh, p.kw, c.algorithm, cudnnGetErrorString(status)));
    return false;
  };
  if (!plan.tuned && order == Order::fixed && may_tune()) {
    std::vector<Candidate> fixed;
    for (const Candidate& c : plan.candidates)
      if (c.fixed_order) fixed.push_back(c);
    fastest_first(fixed, [&](const Candidate& c) { return seconds_of([&] { return done(c); }); });
    std::erase_if(plan.candidates, [](const Candidate& c) { return c.fixed_order; });
    plan.candidates.insert(plan.candidates.begin(), fixed.begin(), fixed.end());
    plan.tuned = true;
  }
  for (auto c = plan.best(order); c != plan.candidates.end(); c = plan.best(order)) {
    if (done(*c)) return true;
    plan.candidates.erase(c);
  }
  return false;
}

}  // namespace spn::kernels::cuda
