// Dropout over [samples, …].
#include "kernels/cuda/device/dropout.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace spn::kernels::cuda {

void dropout(const Dropout& a) {
  const View &x = a.x, &y = a.y;
  check(x.shape == y.shape && x.ndim() >= 1 && x.is_contiguous() && y.is_contiguous(), "dropout",
        "expected contiguous [samples, …] of one shape, got {} and {}", x.shape.str(), y.shape.str());
  check(a.key.p >= 0 && a.key.p < 1, "dropout", "expected a probability in [0, 1), got {}", a.key.p);
  if (x.numel() == 0) return;
  const std::int64_t rows = x.dim(0), length = x.numel() / rows;
  visit_float(x.dtype, "dropout", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    constexpr int kGroup = Pack<T>::n < 4 ? 4 : Pack<T>::n;
    const Mask<C> mask{a.key, dropout_threshold(a.key.p), static_cast<C>(1.0 / (1.0 - a.key.p))};
    if (packable(length, kGroup, {&x, &y}))
      launch(dropout_packs<T, kGroup>, grid_for(x.numel() / kGroup), dim3(kBlock), 0, stream(), x.ptr<T>(), y.ptr<T>(),
             mask, x.numel() / kGroup, length / kGroup);
    else
      launch(dropout_any<T>, grid_for(rows * ((length + 3) / 4)), dim3(kBlock), 0, stream(), x.ptr<T>(), y.ptr<T>(),
             mask, rows, length);
  });
}

}  // namespace spn::kernels::cuda
