// Dropout over [samples, …].
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/mask.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace spn::kernels::cpu {

void dropout(const Dropout& a) {
  const View &x = a.x, &y = a.y;
  check(x.shape == y.shape && x.ndim() >= 1 && x.is_contiguous() && y.is_contiguous(), "dropout",
        "expected contiguous [samples, …] of one shape, got {} and {}", x.shape.str(), y.shape.str());
  check(a.key.p >= 0 && a.key.p < 1, "dropout", "expected a probability in [0, 1), got {}", a.key.p);
  if (x.numel() == 0) return;
  constexpr std::int64_t kChunk = 1024;
  const std::int64_t row = x.numel() / x.dim(0), chunks = (row + kChunk - 1) / kChunk;
  visit_float(x.dtype, "dropout", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T* xp = x.ptr<T>();
    T* yp = y.ptr<T>();
    parallel_for(x.dim(0) * chunks, 3 * std::min(row, kChunk), [&](std::int64_t b, std::int64_t end) {
      C factor[kChunk];
      for (std::int64_t item = b; item < end; ++item) {
        const std::int64_t s = item / chunks, first = item % chunks * kChunk, n = std::min(kChunk, row - first);
        dropout_factors(a.key, sample_of(a.key, s), first, n, factor);
        const T* p = xp + s * row + first;
        T* q = yp + s * row + first;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) q[i] = convert<T>(load(p[i]) * factor[i]);
      }
    });
  });
}

}  // namespace spn::kernels::cpu
