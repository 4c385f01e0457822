// What both passes of the contrastive kernels share on the host: the extents of panels, the scratch memory of a call
// cut into pieces, operands in the dtype of products, the product of a panel. Host only.
#pragma once

#include <algorithm>

#include "kernels/cuda/device/contrastive.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/panel_limits.h"

namespace spn::kernels::cuda {

// Pieces of one scratch allocation: taken twice, first to add up sizes, then for the memory.
class Pieces {
 public:
  template <class T>
  T* take(std::int64_t n) {
    T* p = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (static_cast<std::size_t>(n) * sizeof(T) + 255) / 256 * 256;
    return p;
  }
  void allocate() {
    base_ = static_cast<unsigned char*>(scratch(Scratch::kernel, used_));
    used_ = 0;
  }

 private:
  unsigned char* base_ = nullptr;
  std::size_t used_ = 0;
};

inline View matrix(void* data, DType dtype, Device device, std::int64_t rows, std::int64_t cols, std::int64_t row) {
  return {data, dtype, device, {rows, cols}, {row, 1}};
}
inline View transposed(const View& v) {
  return {v.data, v.dtype, v.device, {v.dim(1), v.dim(0)}, {v.strides[1], v.strides[0]}};
}
inline View rows_of(const View& v, std::int64_t first, std::int64_t n) {
  auto* data = static_cast<unsigned char*>(v.data) + static_cast<std::size_t>(first * v.dim(1)) * size_of(v.dtype);
  return matrix(data, v.dtype, v.device, n, v.dim(1), v.dim(1));
}

// x or y in the dtype of products: itself, rounded as a whole, or rounded a panel at a time.
class Operand {
 public:
  Operand(const View& v, DType products) : v_(v), products_(products) {}
  void reserve(Pieces& pieces, std::int64_t panel, bool whole) {
    if (products_ != v_.dtype) room_ = pieces.take<bf16>((whole ? v_.dim(0) : panel) * v_.dim(1));
    whole_ = whole;
  }
  void prepare() {
    if (products_ != v_.dtype && whole_) copy({.value = 0, .x = v_, .y = rounded(v_.dim(0))});
  }
  View panel(std::int64_t first, std::int64_t n) {
    if (products_ == v_.dtype) return rows_of(v_, first, n);
    if (whole_) return rows_of(rounded(v_.dim(0)), first, n);
    copy({.value = 0, .x = rows_of(v_, first, n), .y = rounded(n)});
    return rounded(n);
  }

 private:
  View rounded(std::int64_t n) const { return matrix(room_, products_, v_.device, n, v_.dim(1), v_.dim(1)); }

  View v_;
  DType products_;
  bf16* room_ = nullptr;
  bool whole_ = true;
};

// Extents, checks, operands and the panel of one call.
template <class T>
struct ContrastiveCall {
  std::int64_t rows, cols, d, panel_rows, panel_cols, row;
  DType products;
  Operand x, y;
  Pieces pieces;
  T* panel = nullptr;
  ContrastivePanel<T> facts{};

  template <class Args>
  ContrastiveCall(const char* where, const Args& a)
      : rows(a.x.dim(0)),
        cols(a.y.dim(0)),
        d(a.x.dim(1)),
        products(a.x.dtype == DType::f32 && a.products == DType::bf16 ? DType::bf16 : a.x.dtype),
        x(a.x, products),
        y(a.y, products) {
    check(a.x.is_contiguous() && a.y.is_contiguous(), where, "expected contiguous x and y");
    check(a.y.dim(1) == d, where, "expected y of width {}, got {}", d, a.y.dim(1));
    check(a.first_row >= 0 && a.first_row + rows <= cols, where,
          "expected positives of {} rows from column {}, got {} columns", rows, a.first_row, cols);
    const PanelLimits& most = contrastive_panels();
    panel_rows = std::min(rows, most.rows);
    panel_cols = std::min(
        {cols, most.group, std::max<std::int64_t>(1, most.rows * most.cols / std::max<std::int64_t>(1, panel_rows))});
    row = (panel_cols + 7) / 8 * 8;
    facts.row = row;
    facts.positives = a.first_row;
    facts.scale = a.scale.template ptr<T>();
    const NegativeRule& r = a.rule;
    if (r.kind != Negatives::all) {
      facts.row_slide = r.row_slide.template ptr<std::int32_t>();
      facts.col_slide = r.col_slide.template ptr<std::int32_t>();
    }
    if (r.kind == Negatives::exclude_radius) {
      facts.row_xy = r.row_xy.template ptr<float>();
      facts.col_xy = r.col_xy.template ptr<float>();
      facts.limit = static_cast<float>(r.radius_um * r.radius_um);
    }
    if (r.kind == Negatives::other_cluster) {
      facts.row_cluster = r.row_cluster.template ptr<std::int32_t>();
      facts.col_cluster = r.col_cluster.template ptr<std::int32_t>();
    }
  }

  void reserve() {
    const bool whole = static_cast<std::size_t>((rows + cols) * d) * sizeof(bf16) <= contrastive_panels().rounded_bytes;
    x.reserve(pieces, panel_rows, whole);
    y.reserve(pieces, panel_cols, whole);
    panel = pieces.take<T>(panel_rows * row);
  }
  void prepare() {
    x.prepare();
    y.prepare();
    facts.s = panel;
  }
  // The products of r rows and c columns, from the operands' panels.
  void multiply(const View& xs, const View& ys, std::int64_t r0, std::int64_t c0) {
    facts.first_row = r0;
    facts.first_col = c0;
    facts.rows = xs.dim(0);
    facts.cols = ys.dim(0);
    gemm({.a = xs,
          .b = transposed(ys),
          .c = matrix(panel, dtype_of<T>, xs.device, facts.rows, facts.cols, row),
          .bias = {}});
  }
  dim3 tiles() const {
    return dim3(static_cast<unsigned>((facts.cols + kTileColumns - 1) / kTileColumns),
                static_cast<unsigned>((facts.rows + kTileRows<T> - 1) / kTileRows<T>));
  }
};

// Calls f with the rule as a constant.
template <class F>
void with_rule(Negatives kind, F&& f) {
  switch (kind) {
    case Negatives::all: return f(std::integral_constant<Negatives, Negatives::all>{});
    case Negatives::exclude_radius: return f(std::integral_constant<Negatives, Negatives::exclude_radius>{});
    case Negatives::other_cluster: return f(std::integral_constant<Negatives, Negatives::other_cluster>{});
  }
}

}  // namespace spn::kernels::cuda
