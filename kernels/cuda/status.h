// Errors of CUDA's libraries as ours: what was called, the library's word, and what a user can do about it.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>

#include <string>

namespace spn::kernels::cuda {

// "N of the device's M bytes are free".
std::string device_memory();

[[noreturn]] void fail_cuda(cudaError_t status, const char* where);
[[noreturn]] void fail_cublas(cublasStatus_t status, const char* where);
[[noreturn]] void fail_cudnn(cudnnStatus_t status, const char* where);
bool is_out_of_memory(cublasStatus_t status);
bool is_out_of_memory(cudnnStatus_t status);

inline void expect(cudaError_t status, const char* where) {
  if (status != cudaSuccess) [[unlikely]]
    fail_cuda(status, where);
}
inline void expect(cublasStatus_t status, const char* where) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail_cublas(status, where);
}
inline void expect(cudnnStatus_t status, const char* where) {
  if (status != CUDNN_STATUS_SUCCESS) [[unlikely]]
    fail_cudnn(status, where);
}

}  // namespace spn::kernels::cuda
