// Forward of the streamed symmetric InfoNCE: the library multiplies a panel, one kernel takes row and column statistics
// from it, and they are joined in f64 over panels.
#include <cstdlib>
#include <sstream>

#include "kernels/cuda/contrastive_panels.h"

namespace spn::kernels::cuda {

PanelLimits panel_limits_from(const char* setting) {
  PanelLimits limits;
  if (setting == nullptr) return limits;
  constexpr std::int64_t kMost = std::int64_t{1} << 27;
  std::istringstream in(setting);
  char by = 0;
  in >> limits.rows >> by >> limits.cols;
  check(in && in.eof() && by == 'x' && limits.rows > 0 && limits.cols > 0 && limits.rows <= kMost / limits.cols,
        "contrastive", "SPN_LOSS_PANEL: expected ROWSxCOLUMNS of at most 2^27 pairs, such as 2048x4096, got '{}'",
        setting);
  return limits;
}
PanelLimits& contrastive_panels() {
  static PanelLimits limits = panel_limits_from(std::getenv("SPN_LOSS_PANEL"));
  return limits;
}

namespace {

using i64 = std::int64_t;

template <class T>
void merge(const LossParts<T>& parts, i64 n, double* running, i64 plane, bool first, bool last, double* lse,
           double* above) {
  launch(contrastive_merge<T>, dim3(static_cast<unsigned>((n + kWarp - 1) / kWarp)), dim3(kLossThreads), 0, stream(),
         parts, n, running, plane, first, last, lse, above);
}

template <class T>
void forward(const ContrastiveFwd& a) {
  ContrastiveCall<T> call("contrastive_fwd", a);
  if (call.cols == 0) return;
  double *row_lse = a.row_lse.ptr<double>(), *row_above = a.row_above.ptr<double>();
  double *col_lse = a.col_lse.ptr<double>(), *col_above = a.col_above.ptr<double>();
  if (call.rows == 0) {
    for (const View* v : {&a.col_lse, &a.col_above})
      copy({.value = -std::numeric_limits<double>::infinity(), .x = {}, .y = *v});
    return;
  }
  const i64 group = std::max(i64{1}, contrastive_panels().group / call.panel_cols) * call.panel_cols;
  const i64 group_cols = std::min(group, call.cols), tiles_down = (call.panel_rows + kTileRows<T> - 1) / kTileRows<T>;
  const i64 panel_tiles = (call.panel_cols + kTileColumns - 1) / kTileColumns;
  const i64 most_parts = (group_cols + call.panel_cols - 1) / call.panel_cols * panel_tiles;
  T *row_parts = nullptr, *col_parts = nullptr;
  double *rows_running = nullptr, *cols_running = nullptr;
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1) call.pieces.allocate();
    call.reserve();
    row_parts = call.pieces.template take<T>(3 * most_parts * call.panel_rows);
    col_parts = call.pieces.template take<T>(3 * tiles_down * group_cols);
    rows_running = call.pieces.template take<double>(3 * call.panel_rows);
    cols_running = call.pieces.template take<double>(3 * call.cols);
  }
  call.prepare();
  double* positive = a.positive.ptr<double>();
  with_rule(a.rule.kind, [&]<Negatives kind>(std::integral_constant<Negatives, kind>) {
    for (i64 r0 = 0; r0 < call.rows; r0 += call.panel_rows) {
      const i64 r = std::min(call.panel_rows, call.rows - r0);
      const View xs = call.x.panel(r0, r);
      for (i64 g0 = 0; g0 < call.cols; g0 += group) {
        const i64 g = std::min(group, call.cols - g0);
        LossParts<T> of_rows{row_parts, 0, call.panel_rows};
        const LossParts<T> of_cols{col_parts, (r + kTileRows<T> - 1) / kTileRows<T>, group_cols};
        for (i64 c0 = 0; c0 < g; c0 += call.panel_cols)  // how many parts: known before the first is written
          of_rows.count += (std::min(call.panel_cols, g - c0) + kTileColumns - 1) / kTileColumns;
        i64 part = 0;
        for (i64 c0 = 0; c0 < g; c0 += call.panel_cols) {
          const i64 c = std::min(call.panel_cols, g - c0);
          call.multiply(xs, call.y.panel(g0 + c0, c), r0, g0 + c0);
          launch(contrastive_statistics<T, kind>, call.tiles(), dim3(kLossThreads), 0, stream(), call.facts, of_rows,
                 part, of_cols, c0, positive);
          part += call.tiles().x;
        }
        merge(of_rows, r, rows_running, call.panel_rows, g0 == 0, g0 + g == call.cols, row_lse + r0, row_above + r0);
        merge(of_cols, g, cols_running + g0, call.cols, r0 == 0, r0 + r == call.rows, col_lse + g0, col_above + g0);
      }
    }
  });
}

}  // namespace

void contrastive_fwd(const ContrastiveFwd& a) {
  if (a.x.dtype == DType::f64)
    forward<double>(a);
  else
    forward<float>(a);
}

}  // namespace spn::kernels::cuda
