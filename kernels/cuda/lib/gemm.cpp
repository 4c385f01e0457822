// Matrix products by cuBLASLt. Its matrices are column-major, so that c = a · b is asked for as cᵀ = bᵀ · aᵀ. Bias,
// ReLU and the bias's gradient are its epilogues; its GELU is the tanh approximation and ours is exact, so GELU and
// both activations' gradients are kernels of ours (docs/decisions/0018-epilogues.md). Algorithms are chosen once a
// problem and kept.
#include "kernels/checks/gemm.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "engine/core/log.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lib/handles.h"
#include "kernels/cuda/lib/matrix.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // what NVIDIA advises for Hopper

using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t type_of(DType t) {
  switch (t) {
    case DType::f32: return CUDA_R_32F;
    case DType::f64: return CUDA_R_64F;
    case DType::bf16: return CUDA_R_16BF;
    default: fail("gemm", "expected a floating dtype, got {}", name_of(t));
  }
}

// Everything that an algorithm's choice depends on.
struct Problem {
  std::int64_t m, n, k, batch;  // of our row-major product
  Matrix a, b, c;
  DType in, out, bias;
  bool biased, relu, accumulate, tf32;
  bool sums;      // of a's rows: the library's gradient of a bias, of its second operand
  int alignment;  // of all pointers, in bytes, up to 16
  auto key() const {
    return std::tuple(m, n, k, batch, a.transposed, a.ld, a.batch_stride, b.transposed, b.ld, b.batch_stride, c.ld,
                      c.batch_stride, in, out, bias, biased, relu, accumulate, tf32, sums, alignment);
  }
};

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm{};
  bool found = false;
};

template <class T>
void set(const Operation& o, cublasLtMatmulDescAttributes_t what, const T& value) {
  expect(cublasLtMatmulDescSetAttribute(o.get(), what, &value, sizeof value), "gemm");
}

// A row-major rows x cols matrix (or its transpose) as the column-major one that lies in the same memory.
Layout layout(DType t, std::int64_t rows, std::int64_t cols, const Matrix& m, std::int64_t batch) {
  cublasLtMatrixLayout_t l = nullptr;
  const auto height = static_cast<std::uint64_t>(m.transposed ? rows : cols);
  const auto width = static_cast<std::uint64_t>(m.transposed ? cols : rows);
  expect(cublasLtMatrixLayoutCreate(&l, type_of(t), height, width, m.ld), "gemm");
  Layout owned(l);
  const auto count = static_cast<std::int32_t>(batch);
  expect(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "gemm");
  expect(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m.batch_stride,
                                          sizeof m.batch_stride),
         "gemm");
  return owned;
}

Plan make_plan(const Problem& p) {
  Plan plan;
  cublasLtMatmulDesc_t operation = nullptr;
  const cublasComputeType_t compute = p.in == DType::f64 ? CUBLAS_COMPUTE_64F
                                      : p.tf32           ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                         : CUBLAS_COMPUTE_32F;
  expect(cublasLtMatmulDescCreate(&operation, compute, p.in == DType::f64 ? CUDA_R_64F : CUDA_R_32F), "gemm");
  plan.operation.reset(operation);
  // the library's first operand is our b: in column-major memory it is bᵀ [n,k] when b is row-major
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, p.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, p.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (p.sums) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BGRADB);
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.out));
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, scratch(Scratch::gemm, kWorkspace));
  }
  if (p.biased || p.relu) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
        p.biased ? (p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS) : CUBLASLT_EPILOGUE_RELU);
    if (p.biased) {
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.bias));
      // any address: the heuristics want to see one
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, scratch(Scratch::gemm, kWorkspace));
    }
  }
  plan.a = layout(p.in, p.m, p.k, p.a, p.batch);
  plan.b = layout(p.in, p.k, p.n, p.b, p.batch);
  plan.c = layout(p.out, p.m, p.n, p.c, p.batch);

  cublasLtMatmulPreference_t preference = nullptr;
  expect(cublasLtMatmulPreferenceCreate(&preference), "gemm");
  const Preference owned(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
    expect(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof value), "gemm");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  const auto alignment = static_cast<std::uint32_t>(p.alignment);
  for (const auto what : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(what, alignment);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      cublas(), operation, plan.b.get(), plan.a.get(), plan.c.get(), plan.c.get(), preference, 1, &best, &found);
  plan.found = status == CUBLAS_STATUS_SUCCESS && found > 0;
  plan.algorithm = best.algo;
  if (p.sums)
    log::debug("gemm: sums of rows beside the product of {} {}x{}x{}: {}", name_of(p.in), p.m, p.k, p.n,
               plan.found ? "the library's epilogue" : "no algorithm, a pass of their own");
  return plan;
}

Plan& plan_for(const Problem& p) {
  static std::mutex mutex;
  static auto& plans = *new std::map<decltype(p.key()), Plan>;  // with the handle, until the process ends
  const std::lock_guard lock(mutex);
  if (const auto it = plans.find(p.key()); it != plans.end()) return it->second;
  return plans.emplace(p.key(), make_plan(p)).first->second;
}

int alignment_of(std::initializer_list<const void*> pointers) {
  std::uintptr_t bits = 16;
  for (const void* p : pointers) bits |= reinterpret_cast<std::uintptr_t>(p);
  return static_cast<int>(bits & (~bits + 1));
}

// v itself where BLAS can walk it, else a dense copy in scratch.
View walkable(const View& v, Scratch user, Matrix& m) {
  if (const auto found = matrix_of(v)) {
    m = *found;
    return v;
  }
  View dense = v;
  dense.strides = contiguous_strides(v.shape);
  dense.data = scratch(user, v.bytes());
  copy({.x = v, .y = dense});
  m = *matrix_of(dense);
  return dense;
}

// The bias in c's dtype: the library takes no f32 bias beside a bf16 result.
View bias_like(const View& bias, DType dtype) {
  if (!bias || bias.dtype == dtype) return bias;
  View same = bias;
  same.dtype = dtype;
  same.strides = contiguous_strides(bias.shape);
  same.data = scratch(Scratch::layout, same.bytes());
  copy({.x = bias, .y = same});
  return same;
}

void activate(Activation act, const View& c) {
  if (act != Activation::none)
    unary_fwd({.op = act == Activation::relu ? UnaryOp::relu : UnaryOp::gelu, .x = c, .y = c});
}

}  // namespace

void gemm(const Gemm& g) {
  check_gemm(g);
  if (g.sums && (g.c.numel() == 0 || g.a.dim(-1) == 0)) reduce(gemm_sums(g));
  if (g.c.numel() == 0) return;
  if (g.a.dim(-1) == 0) {  // nothing to add up: act(bias)
    check(!g.accumulate || !g.bias, "gemm", "a bias with k = 0 cannot be accumulated");
    if (!g.accumulate) copy({.x = g.bias ? as_rows(g.bias, g.c) : View(), .y = g.c});
    activate(g.act, g.c);
    return;
  }

  View c = g.c, a = repeated_like(g.a, c), b = repeated_like(g.b, c);
  batch_to_rows(a, b, c);
  Problem p{};
  p.m = c.dim(-2), p.n = c.dim(-1), p.k = a.dim(-1), p.batch = batch_of(c);
  b.shape = c.shape, b.shape[-2] = p.k;  // as many as c has, where a's and c's became rows
  a = walkable(a, Scratch::gemm_a, p.a), b = walkable(b, Scratch::gemm_b, p.b);
  const auto out = matrix_of(c);
  check(out.has_value() && !out->transposed && (p.batch == 1 || out->batch_stride != 0), "gemm",
        "c {} with strides {}: expected unit stride in its last dim and batch dims that join", c.shape.str(),
        c.strides.str());
  p.c = *out;
  const View bias = bias_like(g.bias, c.dtype);
  p.in = a.dtype, p.out = c.dtype, p.bias = bias ? bias.dtype : c.dtype;
  p.biased = static_cast<bool>(bias);
  p.relu = g.act == Activation::relu;
  p.accumulate = g.accumulate;
  p.tf32 = a.dtype == DType::f32 && tf32_allowed();
  // an absent bias is aligned to everything
  p.alignment = alignment_of({a.data, b.data, c.data, bias.data, g.sums.data});
  p.sums = static_cast<bool>(g.sums);

  Plan* chosen = &plan_for(p);
  const auto without_sums = [&] {  // not for these types or layouts: one more pass over a
    p.sums = false;
    chosen = &plan_for(p);
    reduce(gemm_sums(g));
  };
  if (p.sums && !chosen->found) without_sums();
  const float one = 1, keep = g.accumulate ? 1.0F : 0.0F;
  const double one64 = 1, keep64 = g.accumulate ? 1.0 : 0.0;
  const bool wide = p.in == DType::f64;
  const auto multiply = [&](const Plan& plan) {
    check(plan.found, "gemm", "cuBLASLt has no algorithm for {} {} · {} -> {}, leading dimensions {}, {}, {}",
          name_of(p.in), g.a.shape.str(), g.b.shape.str(), name_of(p.out), p.a.ld, p.b.ld, p.c.ld);
    if (p.biased) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
    if (p.sums) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, g.sums.data);
    return cublasLtMatmul(cublas(), plan.operation.get(), wide ? static_cast<const void*>(&one64) : &one, b.data,
                          plan.b.get(), a.data, plan.a.get(), wide ? static_cast<const void*>(&keep64) : &keep, c.data,
                          plan.c.get(), c.data, plan.c.get(), &plan.algorithm, scratch(Scratch::gemm, kWorkspace),
                          kWorkspace, stream());
  };
  cublasStatus_t status = multiply(*chosen);
  if (p.sums && status == CUBLAS_STATUS_NOT_SUPPORTED) {  // the heuristics promised too much: not again
    log::debug("gemm: the library's epilogue for sums of rows was refused for {}x{}x{}", p.m, p.k, p.n);
    chosen->found = false;
    without_sums();
    status = multiply(*chosen);
  }
  expect(status, "gemm");
  if (g.act == Activation::gelu) activate(g.act, g.c);
}

}  // namespace spn::kernels::cuda
