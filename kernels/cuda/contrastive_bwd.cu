// Backward of the streamed symmetric InfoNCE: a panel of products is made again, turned into the gradient of its
// logits, and multiplied into dx and dy by the library.
#include "kernels/cuda/contrastive_panels.h"

namespace spn::kernels::cuda {
namespace {

using i64 = std::int64_t;

// P: the dtype of products.
template <class T, class P>
void backward(const ContrastiveBwd& a) {
  ContrastiveCall<T> call("contrastive_bwd", a);
  const T* dloss = a.dloss.ptr<T>();
  const i64 across = (call.panel_cols + kTileColumns - 1) / kTileColumns,
            down = (call.panel_rows + kTileRows<T> - 1) / kTileRows<T>;
  if (call.rows == 0) {  // nothing pulls
    for (const View* v : {&a.dy, &a.dscale})
      if (*v && v->numel() != 0) copy({.value = 0, .x = {}, .y = *v});
    return;
  }
  P* gradient = nullptr;
  double* dscale = nullptr;
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1) call.pieces.allocate();
    call.reserve();
    if constexpr (std::is_same_v<T, P>)
      gradient = call.panel;
    else
      gradient = call.pieces.template take<P>(call.panel_rows * call.row);
    if (a.dscale) dscale = call.pieces.template take<double>(across * down);
  }
  call.prepare();
  if (a.dscale) copy({.value = 0, .x = {}, .y = {dscale, DType::f64, a.x.device, {across * down}, {1}}});
  with_rule(a.rule.kind, [&]<Negatives kind>(std::integral_constant<Negatives, kind>) {
    for (i64 r0 = 0; r0 < call.rows; r0 += call.panel_rows) {
      const i64 r = std::min(call.panel_rows, call.rows - r0);
      const View xs = call.x.panel(r0, r);
      for (i64 c0 = 0; c0 < call.cols; c0 += call.panel_cols) {
        const i64 c = std::min(call.panel_cols, call.cols - c0);
        const View ys = call.y.panel(c0, c);
        call.multiply(xs, ys, r0, c0);
        launch(contrastive_gradient<T, P, kind>, call.tiles(), dim3(kLossThreads), 0, stream(), call.facts, gradient,
               a.row_lse.ptr<double>(), a.col_lse.ptr<double>(), dloss, a.mul, dscale, across);
        const View g = matrix(gradient, dtype_of<P>, a.x.device, r, c, call.row);
        if (a.dx) gemm({.a = g, .b = ys, .c = rows_of(a.dx, r0, r), .bias = {}, .accumulate = c0 > 0});
        if (a.dy) gemm({.a = transposed(g), .b = xs, .c = rows_of(a.dy, c0, c), .bias = {}, .accumulate = r0 > 0});
      }
    }
  });
  if (a.dscale)
    launch(contrastive_dscale<T>, dim3(1), dim3(kLossThreads), 0, stream(), a.dscale.ptr<double>(), dscale,
           across * down, dloss, a.mul);
}

}  // namespace

void contrastive_bwd(const ContrastiveBwd& a) {
  if (a.x.dtype == DType::f64)
    backward<double, double>(a);
  else if (a.products == DType::bf16)
    backward<float, bf16>(a);
  else
    backward<float, float>(a);
}

}  // namespace spn::kernels::cuda
