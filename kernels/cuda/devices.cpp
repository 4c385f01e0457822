// What GPUs and libraries there are, known before a device is opened.
#include "kernels/devices.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <fmt/format.h>

#include <cstdlib>

#include "kernels/cuda/status.h"
#include "kernels/gpu_fit.h"

namespace spn::kernels {

int cuda_device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

std::string why_no_cuda_device() {
  GpuState s;
  cudaRuntimeGetVersion(&s.runtime);
  cudaDriverGetVersion(&s.driver);
  const cudaError_t status = cudaGetDeviceCount(&s.devices);
  cudaGetLastError();
  if (status != cudaSuccess) s.devices = 0;
  if (status != cudaSuccess && status != cudaErrorNoDevice) s.error = cudaGetErrorString(status);
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  s.visible = visible == nullptr ? "unset" : fmt::format("'{}'", visible);
  return why_no_gpu(s);
}

std::vector<std::string> cuda_device_names() {
  std::vector<std::string> names;
  for (int i = 0; i < cuda_device_count(); ++i) {
    cudaDeviceProp p{};
    cuda::expect(cudaGetDeviceProperties(&p, i), "cuda");
    names.push_back(fmt::format("{}, {}.{}, {:.1f} GiB", p.name, p.major, p.minor,
                                static_cast<double>(p.totalGlobalMem) / (1 << 30)));
  }
  return names;
}

std::string cuda_versions() {
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);  // 0 without a driver
  const std::size_t cudnn = cudnnGetVersion();
  return fmt::format("CUDA {}.{}, GPU code for {}, driver for {}, cuBLASLt {}, cuDNN {}.{}.{}", runtime / 1000,
                     runtime % 1000 / 10, SPN_CUDA_ARCHITECTURES,
                     driver == 0 ? "none" : fmt::format("{}.{}", driver / 1000, driver % 1000 / 10),
                     cublasLtGetVersion(), cudnn / 10000, cudnn / 100 % 100, cudnn % 100);
}

}  // namespace spn::kernels
