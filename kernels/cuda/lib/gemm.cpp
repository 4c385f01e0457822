// Matrix products by cuBLASLt. Its matrices are column-major, so that c = a · b is asked for as cᵀ = bᵀ · aᵀ. The
// candidates of its heuristics are kept a problem, best first; one that is refused when it is called is struck off.
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/core/log.h"
#include "engine/core/out_of_memory.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lib/handles.h"
#include "kernels/cuda/lib/product.h"
#include "kernels/cuda/lib/tune.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {
namespace {

constexpr int kCandidates = 8;
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

struct Plan {
  Operation operation;
  Layout a, b, c;
  std::vector<cublasLtMatmulAlgo_t> algorithms;  // best first
  bool tuned = false;
};

std::string description(const Product& p) {
  return fmt::format("{} {}x{}x{} in {} to {}{}{}", name_of(p.in), p.m, p.k, p.n, p.batch, name_of(p.out),
                     p.biased ? ", bias" : "", p.relu ? ", ReLU" : "");
}

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

// The heuristics take the alignment of a bias from an address, which they do not read: one as aligned as all pointers
// of p are, and as its own values.
const void* as_aligned(const Product& p, DType values) {
  const auto bytes = std::max(static_cast<std::size_t>(p.alignment), size_of(values));
  return static_cast<const std::byte*>(scratch(Scratch::gemm, kWorkspace)) + (bytes < 16 ? bytes : 0);
}

Plan make_plan(const Product& p) {
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
  if (p.biased || p.relu) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
        p.biased ? (p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS) : CUBLASLT_EPILOGUE_RELU);
    if (p.biased) {
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.bias));
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, as_aligned(p, p.bias));
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
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> proposed{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(cublas(), operation, plan.b.get(), plan.a.get(), plan.c.get(), plan.c.get(),
                                     preference, kCandidates, proposed.data(), &count);
  if (status != CUBLAS_STATUS_SUCCESS) count = 0;
  for (int i = 0; i < count; ++i)
    if (const auto& r = proposed[static_cast<std::size_t>(i)]; r.state == CUBLAS_STATUS_SUCCESS)
      plan.algorithms.push_back(r.algo);
  if (plan.algorithms.empty()) log::debug("gemm: {}: no algorithm", description(p));
  return plan;
}

// Bytes from c's first element to its last.
std::size_t bytes_of_result(const Product& p) {
  return static_cast<std::size_t>((p.batch - 1) * p.c.batch_stride + (p.m - 1) * p.c.ld + p.n) * size_of(p.out);
}

// Memory in which a product that adds to its result is tried out.
struct Trial {
  explicit Trial(std::size_t n) : bytes(n), p(alloc(n)) {}
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;
  ~Trial() { release(p, bytes); }
  std::size_t bytes;
  void* p;
};

Plan& plan_for(const Product& p) {
  static std::mutex mutex;
  static auto& plans = *new std::map<decltype(p.key()), Plan>;  // with the handle, until the process ends
  const std::lock_guard lock(mutex);
  if (const auto it = plans.find(p.key()); it != plans.end()) return it->second;
  return plans.emplace(p.key(), make_plan(p)).first->second;
}

}  // namespace

bool multiply(const Product& p, const ProductMemory& at) {
  Plan& plan = plan_for(p);
  const float one = 1, keep = p.accumulate ? 1.0F : 0.0F;
  const double one64 = 1, keep64 = p.accumulate ? 1.0 : 0.0;
  const bool wide = p.in == DType::f64;
  const auto call_into = [&](const cublasLtMatmulAlgo_t& algorithm, void* c) {
    if (p.biased) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, at.bias);
    const cublasStatus_t status = cublasLtMatmul(
        cublas(), plan.operation.get(), wide ? static_cast<const void*>(&one64) : &one, at.b, plan.b.get(), at.a,
        plan.a.get(), wide ? static_cast<const void*>(&keep64) : &keep, c, plan.c.get(), c, plan.c.get(), &algorithm,
        scratch(Scratch::gemm, kWorkspace), kWorkspace, stream());
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    if (is_out_of_memory(status)) fail_cublas(status, "gemm");  // no word on the algorithm
    const bool failed = status == CUBLAS_STATUS_EXECUTION_FAILED;
    // what adds to its result may have begun to
    if (failed && ((p.accumulate && c == at.c) || !only_refused("gemm"))) fail_cublas(status, "gemm");
    log::write(failed ? log::Level::warn : log::Level::debug,
               fmt::format("gemm: {}: refused ({})", description(p), cublasLtGetStatusString(status)));
    return false;
  };
  if (!plan.tuned && plan.algorithms.size() > 1 && may_tune()) {
    std::optional<Trial> aside;  // what adds to its result may do so once only
    try {
      if (p.accumulate) aside.emplace(bytes_of_result(p));
      void* c = aside ? aside->p : at.c;
      fastest_first(plan.algorithms, [&](const auto& a) { return seconds_of([&] { return call_into(a, c); }); });
    } catch (const OutOfMemory&) {
      if (aside || !p.accumulate) throw;  // else the heuristics' order stays: the product itself needs no more memory
    }
    plan.tuned = true;
  }
  while (!plan.algorithms.empty()) {
    if (call_into(plan.algorithms.front(), at.c)) return true;
    plan.algorithms.erase(plan.algorithms.begin());  // the heuristics promised too much: not again
  }
  return false;
}

}  // namespace spn::kernels::cuda
