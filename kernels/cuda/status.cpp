#include "kernels/cuda/status.h"

#include "engine/core/bytes.h"
#include "engine/core/out_of_memory.h"

namespace spn::kernels::cuda {
namespace {

// What a user can do about the errors that are not our defects.
const char* remedy(cudaError_t status) {
  switch (status) {
    case cudaErrorNoDevice: return "no GPU is visible to this process; ask the scheduler for one, or use --device cpu";
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is older than this build's CUDA; update it, or build with an older toolkit";
    case cudaErrorNoKernelImageForDevice:
      return "this build has no code for this GPU; add its architecture to CMAKE_CUDA_ARCHITECTURES";
    case cudaErrorSystemDriverMismatch: return "driver and CUDA libraries do not fit each other; look at nvidia-smi";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure: return "the GPU failed; see dmesg, and take the machine out of the job if it repeats";
    case cudaErrorDevicesUnavailable: return "the GPU is taken by another process in exclusive mode";
    default: return "run once with CUDA_LAUNCH_BLOCKING=1 and --cuda-graph off to see which kernel it was";
  }
}

}  // namespace

std::string device_memory() {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    cudaGetLastError();
    return "how much memory it has, it does not say";
  }
  return fmt::format("{} of the GPU's {} are free", mebibytes(free), mebibytes(total));
}

namespace {

[[noreturn]] void no_room(const char* where) {
  throw OutOfMemory(where, fmt::format("the GPU, or the host's page-locked memory, has no room: {}; use a smaller "
                                       "--micro-batch, --activation-checkpointing, --residency disk, or more ranks",
                                       device_memory()));
}

}  // namespace

void fail_cuda(cudaError_t status, const char* where) {
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is said here, and does not stay behind
    no_room(where);
  }
  fail(where, "CUDA: {} ({}); {}", cudaGetErrorString(status), cudaGetErrorName(status), remedy(status));
}
bool is_out_of_memory(cublasStatus_t status) { return status == CUBLAS_STATUS_ALLOC_FAILED; }
void fail_cublas(cublasStatus_t status, const char* where) {
  if (is_out_of_memory(status)) no_room(where);
  fail(where, "cuBLASLt: {}", cublasLtGetStatusString(status));
}
bool is_out_of_memory(cudnnStatus_t status) {
  return status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
         status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
}
void fail_cudnn(cudnnStatus_t status, const char* where) {
  if (is_out_of_memory(status)) no_room(where);
  char more[512] = "";
  cudnnGetLastErrorString(more, sizeof more);
  fail(where, "cuDNN: {} {}", cudnnGetErrorString(status), more);
}

}  // namespace spn::kernels::cuda
