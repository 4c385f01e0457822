// Pooling over channels-last images.
#include "kernels/cuda/device/pool.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace spn::kernels::cuda {
namespace {

template <class Args>
PoolShape shape_of(const char* where, const Args& a, const View& in, const View& out) {
  check(in.is_channels_last() && out.is_channels_last() && in.dim(0) == out.dim(0) && in.dim(1) == out.dim(1) &&
            in.dtype == out.dtype,
        where, "expected channels-last [N,C,H,W] in and out of equal N, C and dtype, got {} {} and {} {}",
        name_of(in.dtype), in.shape.str(), name_of(out.dtype), out.shape.str());
  return {a.kind, a.kernel, a.stride, a.pad, in.dim(0), in.dim(1), in.dim(2), in.dim(3), out.dim(2), out.dim(3)};
}

}  // namespace

void pool_fwd(const PoolFwd& a) {
  const PoolShape s = shape_of("pool_fwd", a, a.x, a.y);
  std::int32_t* index = a.kind == PoolKind::max ? a.index.ptr<std::int32_t>() : nullptr;
  if (a.y.numel() == 0) return;
  visit_float(a.x.dtype, "pool_fwd", [&](auto e) {
    using T = decltype(e);
    constexpr int kWidth = Pack<T>::n;
    if (packable(s.c, kWidth, {&a.x, &a.y}))
      launch(pool_fwd_cells<T, kWidth>, grid_for(a.y.numel() / kWidth), dim3(kBlock), 0, stream(), a.x.ptr<T>(),
             a.y.ptr<T>(), index, s);
    else
      launch(pool_fwd_cells<T, 1>, grid_for(a.y.numel()), dim3(kBlock), 0, stream(), a.x.ptr<T>(), a.y.ptr<T>(), index,
             s);
  });
}

void pool_bwd(const PoolBwd& a) {
  const PoolShape s = shape_of("pool_bwd", a, a.dx, a.dy);
  const std::int32_t* index = a.kind == PoolKind::max ? a.index.ptr<std::int32_t>() : nullptr;
  if (a.dx.numel() == 0) return;
  visit_float(a.dy.dtype, "pool_bwd", [&](auto e) {
    using T = decltype(e);
    constexpr int kWidth = Pack<T>::n;
    if (packable(s.c, kWidth, {&a.dy, &a.dx}))
      launch(pool_bwd_inputs<T, kWidth>, grid_for(a.dx.numel() / kWidth), dim3(kBlock), 0, stream(), a.dy.ptr<T>(),
             index, a.dx.ptr<T>(), s);
    else
      launch(pool_bwd_inputs<T, 1>, grid_for(a.dx.numel()), dim3(kBlock), 0, stream(), a.dy.ptr<T>(), index,
             a.dx.ptr<T>(), s);
  });
}

}  // namespace spn::kernels::cuda
