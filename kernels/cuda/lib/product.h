// A matrix product as it is asked of cuBLASLt, which may know no way to do it: kernels/cuda/gemm.cpp then asks for
// less. In tests, the emulator computes it on the host, and refuses what a test wants refused.
#pragma once

#include <tuple>

#include "engine/core/dtype.h"
#include "kernels/cuda/lib/matrix.h"

namespace spn::kernels::cuda {

// Everything that an algorithm's choice depends on.
struct Product {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;  // of our row-major product
  Matrix a, b, c;
  DType in{}, out{}, bias{};
  bool biased = false, relu = false, accumulate = false, tf32 = false;
  int alignment = 1;  // of all pointers, in bytes, up to 16
  auto key() const {
    return std::tuple(m, n, k, batch, a.transposed, a.ld, a.batch_stride, b.transposed, b.ld, b.batch_stride, c.ld,
                      c.batch_stride, in, out, bias, biased, relu, accumulate, tf32, alignment);
  }
};
struct ProductMemory {
  const void *a, *b;
  void* c;
  const void* bias;
};

// False: nothing was done, as the library has no algorithm for it, or refuses the one that it named. It is not asked
// again then.
bool multiply(const Product& p, const ProductMemory& at);

}  // namespace spn::kernels::cuda
