// Layer norm over the last dim.
#include "kernels/checks/rows.h"
#include "kernels/cuda/device/layer_norm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace spn::kernels::cuda {
namespace {

template <class T, class W>
void forward(const LayerNormFwd& a) {
  using C = compute_t<T>;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  const AddedBranch<T> added{a.branch.ptr_or_null<T>(), a.gate.ptr_or_null<T>(), a.sum.ptr_or_null<T>()};
  const auto with = [&]<bool adds>() {
    visit_rows<T, true>("layer_norm", n, {&a.x, &a.y, &a.w, &a.b, &a.branch, &a.gate, &a.sum},
                        [&]<class L>(int threads, int per_block) {
                          const dim3 grid = blocks_of_rows(rows, per_block, kForwardResident<T, L> / threads);
                          launch(layer_norm_rows<T, W, L, adds>, grid, dim3(static_cast<unsigned>(threads)), 0,
                                 stream(), a.x.ptr<T>(), added, a.w.ptr_or_null<W>(), a.b.ptr_or_null<W>(),
                                 a.y.ptr_or_null<T>(), a.mean.ptr_or_null<C>(), a.rstd.ptr_or_null<C>(), rows,
                                 static_cast<int>(n), static_cast<C>(a.eps));
                        });
  };
  if (a.branch)
    with.template operator()<true>();
  else
    with.template operator()<false>();
}

template <class T, class W>
void backward(const LayerNormBwd& a) {
  using C = compute_t<T>;
  const std::int64_t n = a.x.dim(-1), rows = a.x.numel() / n;
  const bool params = a.dw || a.db;
  visit_rows<T, true>("layer_norm", n, {&a.x, &a.dy, &a.dx, &a.w}, [&]<class L>(int threads, int per_block) {
    // each block leaves sums of 2 n: as many blocks as are resident at once, each with an equal share of the rows
    const dim3 grid = blocks_of_rows(rows, per_block, kBackwardResident<T, L> / threads);
    C* sums = params ? scratch_of<C>(Scratch::kernel, static_cast<std::size_t>(2 * n) * grid.x) : nullptr;
    const int shared = params ? shared_of_sums<L>(threads, static_cast<int>(n)) : 0;
    launch(layer_norm_bwd_rows<T, W, L>, grid, dim3(static_cast<unsigned>(threads)),
           static_cast<std::size_t>(shared) * sizeof(C), stream(), a.x.ptr<T>(), a.w.ptr<W>(), a.mean.ptr<C>(),
           a.rstd.ptr<C>(), a.dy.ptr<T>(), a.dx ? a.dx.ptr<T>() : nullptr, sums, rows, static_cast<int>(n));
    if (params)
      launch(layer_norm_join<C, W>, grid_for(2 * n, kWarp), dim3(kJoinThreads), 0, stream(), sums,
             a.dw ? a.dw.ptr<W>() : nullptr, a.db ? a.db.ptr<W>() : nullptr, static_cast<std::int64_t>(grid.x),
             static_cast<int>(n));
  });
}

}  // namespace

void layer_norm_fwd(const LayerNormFwd& a) {
  check_layer_norm(a.x, {&a.y}, {&a.w, &a.b});
  check_added_branch(a);
  if (a.x.numel() == 0) return;
  if (!a.y) return visit_float(a.x.dtype, "layer_norm", [&](auto x) { forward<decltype(x), decltype(x)>(a); });
  visit_layer_norm(a.x.dtype, a.w.dtype, [&](auto x, auto w) { forward<decltype(x), decltype(w)>(a); });
}

void layer_norm_bwd(const LayerNormBwd& a) {
  check_layer_norm(a.x, {&a.dy, &a.dx}, {&a.w, &a.dw, &a.db});
  if (a.x.numel() == 0) {
    for (const View* v : {&a.dw, &a.db})
      if (*v && v->numel() != 0) copy({.value = 0, .x = {}, .y = *v});
    return;
  }
  visit_layer_norm(a.x.dtype, a.w.dtype, [&](auto x, auto w) { backward<decltype(x), decltype(w)>(a); });
}

}  // namespace spn::kernels::cuda
