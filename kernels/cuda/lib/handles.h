// Handles of the vendors' libraries, one a process, made at first use and bound to the compute stream.
#pragma once

#include <cublasLt.h>
#include <cudnn.h>

#include <memory>

namespace spn::kernels::cuda {

cublasLtHandle_t cublas();
cudnnHandle_t cudnn();

// After a library could not launch something: waits for the device, and says whether it is sound, so that nothing was
// done and another algorithm may try. While a step is captured nobody can wait: no.
bool device_is_well();

// Owns a library's descriptor: destroy is called unless it is null; what it returns is not looked at.
template <class T, auto destroy>
struct Destroy {
  void operator()(T* p) const { destroy(p); }
};
template <class Pointer, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<std::remove_pointer_t<Pointer>, destroy>>;

}  // namespace spn::kernels::cuda
