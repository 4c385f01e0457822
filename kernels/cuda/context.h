// This rank's device: its compute stream, scratch memory that kernels may use, and what is asked of it once. Host only.
// The emulated build has its own definitions (tests/support/emulator/context.cpp).
#pragma once

#include <cstddef>

struct CUstream_st;

namespace spn::kernels::cuda {

using Stream = CUstream_st*;

// All kernels of the table run on this stream, in order.
Stream stream();
// Streaming multiprocessors of the device, for grid sizes.
int multiprocessors();
// Shared memory that a block of the device may ask for, in bytes.
std::size_t shared_most();
// Whether f32 products may use TF32 (kernels/devices.h).
bool tf32_allowed();
// Between capture_begin and capture_end.
bool capturing();

// Scratch on the device, valid for what is queued before the next call with the same user, which may move it. It grows
// outside a captured step only: run a plain step first. 256-byte aligned.
enum class Scratch : int { kernel, gemm, gemm_a, gemm_b, conv, layout, widened, count };
void* scratch(Scratch user, std::size_t bytes);
template <class T>
T* scratch_of(Scratch user, std::size_t n) {
  return static_cast<T*>(scratch(user, n * sizeof(T)));
}

}  // namespace spn::kernels::cuda
