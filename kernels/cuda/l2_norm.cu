// Rows of length 1.
#include "kernels/checks/rows.h"
#include "kernels/cuda/device/l2_norm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace spn::kernels::cuda {

void l2_norm_fwd(const L2NormFwd& a) {
  check_normed_rows(a.x, a.y, a.rnorm);
  if (a.x.numel() == 0) return;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  visit_float(a.x.dtype, "l2_normalise", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    visit_rows<T>("l2_normalise", n, {&a.x, &a.y}, [&]<class L>(int threads, int per_block) {
      launch(l2_norm_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0, stream(),
             a.x.ptr<T>(), a.y.ptr<T>(), a.rnorm.ptr<C>(), rows, static_cast<int>(n), static_cast<C>(a.eps));
    });
  });
}

void l2_norm_bwd(const L2NormBwd& a) {
  if (!a.dx || a.y.numel() == 0) return;
  check_normed_rows(a.y, a.dy, a.rnorm);
  check_normed_rows(a.y, a.dx, a.rnorm);
  const std::int64_t n = a.y.dim(-1), rows = a.y.numel() / n;
  visit_float(a.y.dtype, "l2_normalise", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    visit_rows<T>("l2_normalise", n, {&a.y, &a.dy, &a.dx}, [&]<class L>(int threads, int per_block) {
      launch(l2_norm_bwd_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0, stream(),
             a.y.ptr<T>(), a.rnorm.ptr<C>(), a.dy.ptr<T>(), a.dx.ptr<T>(), rows, static_cast<int>(n),
             C(1) / static_cast<C>(a.eps));
    });
  });
}

}  // namespace spn::kernels::cuda
