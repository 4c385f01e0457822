// Handles of the vendors' libraries, one a process, made at first use and bound to the compute stream.
#pragma once

#include <cublasLt.h>
#include <cudnn.h>

#include <memory>

namespace spn::kernels::cuda {

cublasLtHandle_t cublas();
cudnnHandle_t cudnn();

// After a library could not launch something: waits for the device. True when that is sound, so that another algorithm
// may try; throws the device's own error, or that it has no memory. While a step is captured nobody can wait: false.
bool only_refused(const char* where);

// Owns a library's descriptor: destroy is called unless it is null; what it returns is not looked at.
template <class T, auto destroy>
struct Destroy {
  void operator()(T* p) const { destroy(p); }
};
template <class Pointer, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<std::remove_pointer_t<Pointer>, destroy>>;

}  // namespace spn::kernels::cuda
