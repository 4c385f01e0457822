#include "kernels/cuda/lib/handles.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/status.h"

namespace spn::kernels::cuda {

// Both live until the process ends, as the device does (runtime.cpp).
cublasLtHandle_t cublas() {
  static const cublasLtHandle_t handle = [] {
    cublasLtHandle_t h = nullptr;
    stream();  // opens the device
    expect(cublasLtCreate(&h), "gemm");
    return h;
  }();
  return handle;
}

cudnnHandle_t cudnn() {
  static const cudnnHandle_t handle = [] {
    cudnnHandle_t h = nullptr;
    const Stream s = stream();
    expect(cudnnCreate(&h), "conv");
    expect(cudnnSetStream(h, s), "conv");
    return h;
  }();
  return handle;
}

bool only_refused(const char* where) {
  if (capturing()) return false;
  expect(cudaStreamSynchronize(stream()), where);
  const cudaError_t last = cudaGetLastError();  // where the library shares our runtime; no error of the next launch
  if (last == cudaErrorMemoryAllocation) fail_cuda(last, where);
  return true;
}

}  // namespace spn::kernels::cuda
