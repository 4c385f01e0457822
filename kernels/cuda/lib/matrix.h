// A view as the batch of matrices that BLAS understands: one unit stride, one leading dimension, one batch stride.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "engine/core/view.h"

namespace spn::kernels::cuda {

struct Matrix {
  bool transposed = false;        // unit stride in rows: the memory holds the transpose, row-major
  std::int64_t ld = 1;            // elements between rows (between columns when transposed)
  std::int64_t batch_stride = 0;  // 0: one matrix for the whole batch
};

// The product of the leading extents.
inline std::int64_t batch_of(const View& v) {
  std::int64_t n = 1;
  for (int d = 0; d + 2 < v.ndim(); ++d) n *= v.dim(d);
  return n;
}

// Nothing when no such description exists (gaps in both dims, batch dims that do not join, rows that repeat).
inline std::optional<Matrix> matrix_of(const View& v) {
  const std::int64_t rows = v.dim(-2), cols = v.dim(-1);
  const std::int64_t by_row = v.strides[v.ndim() - 2], by_col = v.strides[v.ndim() - 1];
  Matrix m;
  if ((cols == 1 || by_col == 1) && (rows == 1 || by_row >= cols)) {
    m.ld = rows == 1 ? cols : by_row;
  } else if ((rows == 1 || by_row == 1) && (cols == 1 || by_col >= rows)) {
    m.transposed = true;
    m.ld = cols == 1 ? rows : by_col;
  } else {
    return std::nullopt;
  }
  // leading dims, innermost first: each must step by what the ones below it span
  bool first = true;
  std::int64_t span = 1;
  for (int d = v.ndim() - 3; d >= 0; --d) {
    if (v.dim(d) == 1) continue;
    if (first)
      m.batch_stride = v.strides[d];
    else if (v.strides[d] != m.batch_stride * span)
      return std::nullopt;
    first = false;
    span *= v.dim(d);
  }
  return m;
}

// A vector [n] as rows of `like`.
inline View as_rows(const View& v, const View& like) {
  View r = v;
  r.shape = r.strides = like.shape;
  for (int d = 0; d < like.ndim(); ++d) r.strides[d] = d + 1 == like.ndim() ? 1 : 0;
  return r;
}

// v with the leading dims of `like`: missing ones are added, those of extent 1 repeat (stride 0).
inline View repeated_like(const View& v, const View& like) {
  View r = v;
  r.shape = Shape();
  r.strides = Shape();
  const int missing = like.ndim() - v.ndim();
  for (int d = 0; d < like.ndim(); ++d) {
    const bool matrix = d + 2 >= like.ndim();
    r.shape.push_back(matrix ? v.dim(d - missing) : like.dim(d));
    r.strides.push_back(d < missing || (!matrix && v.dim(d - missing) == 1) ? 0 : v.strides[d - missing]);
  }
  return r;
}

// One b for many a: leading dims of a and c that step on like their rows become rows, which is one large product in
// place of many small ones. All three have the same number of dims.
inline void batch_to_rows(View& a, const View& b, View& c) {
  for (int d = 0; d + 2 < b.ndim(); ++d)
    if (b.dim(d) != 1 && b.strides[d] != 0) return;
  const int row = c.ndim() - 2;
  for (int d = row - 1; d >= 0; --d) {
    if (c.dim(d) == 1) continue;
    for (const View* v : {&a, &c})
      if (v->strides[d] != v->strides[row] * v->dim(row)) return;
    for (View* v : {&a, &c}) {
      v->shape[row] *= v->shape[d];
      v->shape[d] = 1;
    }
  }
}

}  // namespace spn::kernels::cuda
