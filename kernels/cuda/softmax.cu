// Softmax, log softmax and cross-entropy over the last dim.
#include "kernels/checks/rows.h"
#include "kernels/cuda/device/softmax.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace spn::kernels::cuda {
namespace {

// Their values cannot be looked at here: the kernels give NaN for a target that is no class.
const std::int64_t* targets(const View& x, const View& target) {
  check_targets(x, target);
  return target.ptr<std::int64_t>();
}

}  // namespace

void softmax_fwd(const SoftmaxFwd& a) {
  check_same_rows("softmax", a.x, a.y);
  if (a.x.numel() == 0) return;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  visit_float(a.x.dtype, "softmax", [&](auto e) {
    using T = decltype(e);
    visit_rows<T>("softmax", n, {&a.x, &a.y}, [&]<class L>(int threads, int per_block) {
      launch(softmax_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0, stream(),
             a.x.ptr<T>(), a.y.ptr<T>(), a.log, rows, static_cast<int>(n));
    });
  });
}

void softmax_bwd(const SoftmaxBwd& a) {
  if (!a.dx || a.y.numel() == 0) return;
  check_same_rows("softmax", a.y, a.dy);
  check_same_rows("softmax", a.y, a.dx);
  const std::int64_t n = a.y.dim(-1), rows = a.y.numel() / n;
  visit_float(a.y.dtype, "softmax", [&](auto e) {
    using T = decltype(e);
    visit_rows<T>("softmax", n, {&a.y, &a.dy, &a.dx}, [&]<class L>(int threads, int per_block) {
      launch(softmax_bwd_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0, stream(),
             a.y.ptr<T>(), a.dy.ptr<T>(), a.dx.ptr<T>(), a.log, rows, static_cast<int>(n));
    });
  });
}

void cross_entropy_fwd(const CrossEntropyFwd& a) {
  const std::int64_t* target = targets(a.x, a.target);
  const std::int64_t rows = a.x.dim(0), n = a.x.dim(1);
  visit_float(a.x.dtype, "cross_entropy", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    visit_rows<T>("cross_entropy", n, {&a.x}, [&]<class L>(int threads, int per_block) {
      launch(cross_entropy_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0,
             stream(), a.x.ptr<T>(), target, a.loss.ptr<T>(), a.lse.ptr<C>(), rows, static_cast<int>(n));
    });
  });
}

void cross_entropy_bwd(const CrossEntropyBwd& a) {
  if (!a.dx) return;
  const std::int64_t* target = targets(a.x, a.target);
  check_same_rows("cross_entropy", a.x, a.dx);
  const std::int64_t rows = a.x.dim(0), n = a.x.dim(1);
  visit_float(a.x.dtype, "cross_entropy", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    visit_rows<T>("cross_entropy", n, {&a.x, &a.dx}, [&]<class L>(int threads, int per_block) {
      launch(cross_entropy_bwd_rows<T, L>, blocks_of_rows(rows, per_block), dim3(static_cast<unsigned>(threads)), 0,
             stream(), a.x.ptr<T>(), target, a.lse.ptr<C>(), a.dloss.ptr<T>(), a.dx.ptr<T>(), rows,
             static_cast<int>(n));
    });
  });
}

}  // namespace spn::kernels::cuda
