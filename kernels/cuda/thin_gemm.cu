// Products with a long sum and few results, such as the gradient of a token's weights over all genes of a batch.
#include "kernels/cuda/device/thin_gemm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

// Fewer terms than this are no more than a tile of a library's walks anyway.
constexpr std::int64_t kLong = std::int64_t{64} << 10;

template <class T, class Y>
void run_thin(const Gemm& g, const ThinGemm& s) {
  const auto* a = g.a.ptr<T>();
  const auto* b = g.b.ptr<T>();
  const bool packed =
      s.m == kThinM && s.a_m == 1 && s.a_k == kThinM && reinterpret_cast<std::uintptr_t>(a) % alignof(Pack<T>) == 0;
  const dim3 grid = grid_for(s.k, kThinThreads, 4);
  auto* partial = scratch_of<double>(Scratch::kernel, std::size_t{grid.x} * kThinSums);
  if (packed)
    launch(thin_parts<T, true>, grid, dim3(kThinThreads), 0, stream(), a, b, partial, s);
  else
    launch(thin_parts<T, false>, grid, dim3(kThinThreads), 0, stream(), a, b, partial, s);
  launch(thin_join<Y>, dim3(1), dim3(kThinSums * kWarp), 0, stream(), partial, static_cast<int>(grid.x), g.c.ptr<Y>(),
         g.sums ? g.sums.ptr<Y>() : static_cast<Y*>(nullptr), s);
}

}  // namespace

bool thin_gemm(const Gemm& g) {
  const View &a = g.a, &b = g.b, &c = g.c;
  if (c.ndim() != 2 || a.ndim() != 2 || b.ndim() != 2 || g.bias || g.act != Activation::none || g.accumulate)
    return false;
  if (a.dim(1) < kLong || a.dim(0) > kThinM || b.dim(1) > kThinN) return false;
  ThinGemm s;
  s.m = static_cast<int>(a.dim(0)), s.n = static_cast<int>(b.dim(1)), s.k = a.dim(1);
  s.a_m = a.strides[0], s.a_k = a.strides[1], s.b_k = b.strides[0], s.b_n = b.strides[1];
  s.c_m = c.strides[0], s.c_n = c.strides[1];
  if (a.dtype == DType::bf16 && c.dtype == DType::f32)
    run_thin<bf16, float>(g, s);
  else
    visit_float(a.dtype, "gemm", [&](auto e) { run_thin<decltype(e), decltype(e)>(g, s); });
  return true;
}

}  // namespace spn::kernels::cuda
