// Sums, means and maxima over any subset of dims: runs, columns, or whatever strides there are.
#include <algorithm>

#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

using i64 = std::int64_t;

template <int N>
void push_inner(Strided<N>& s, i64 extent, const std::array<i64, N>& stride) {
  bool joins = s.dims > 0;
  for (int v = 0; v < N && joins; ++v) joins = s.stride[v][s.dims - 1] == stride[static_cast<std::size_t>(v)] * extent;
  if (!joins) s.extent[s.dims++] = 1;
  s.extent[s.dims - 1] *= extent;
  for (int v = 0; v < N; ++v) s.stride[v][s.dims - 1] = stride[static_cast<std::size_t>(v)];
  s.numel *= extent;
}

// The largest power of two up to `most` that is not above what n needs.
int lanes_for(i64 n, int most) {
  int lanes = 1;
  while (lanes < most && lanes < n) lanes *= 2;
  return lanes;
}

dim3 blocks_for(i64 items, i64 per_block) { return grid_for(items, static_cast<int>(per_block), 16); }

template <class T>
bool aligned(const T* p, std::initializer_list<i64> multiples) {
  bool yes = reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (const i64 m : multiples) yes = yes && m % Pack<T>::n == 0;
  return yes;
}
template <int N>
bool steps_aligned(const Strided<N>& s, int pack) {
  for (int d = 0; d < s.dims; ++d)
    if (s.stride[0][d] % pack != 0) return false;
  return true;
}

// y [outer, columns] from partial [outer, parts, columns].
template <class Y, bool is_max>
void join_parts(const double* partial, Y* y, ColumnSplit s, double scale) {
  Strided<2> outer = s.outer;  // dense in partial, as it is in y
  i64 dense = s.parts * s.columns;
  for (int d = outer.dims - 1; d >= 0; --d) {
    outer.stride[0][d] = dense;
    dense *= outer.extent[d];
  }
  s.outer = outer;
  s.rows = {};
  s.rows.numel = 1;
  push_inner<1>(s.rows, s.parts, {s.columns});
  s.share = s.parts;
  s.parts = 1;
  s.lanes = lanes_for(s.columns, 32);
  s.blocks = (s.columns + s.lanes - 1) / s.lanes;
  const int threads = std::max(32, s.lanes * lanes_for((s.rows.numel + 3) / 4, 256 / s.lanes));
  launch(reduce_columns<double, Y, is_max, 1>, blocks_for(s.outer.numel * s.blocks, 1), dim3(threads), 0, stream(),
         partial, y, static_cast<double*>(nullptr), s, scale);
}

template <class T, class Y, bool is_max>
void columns(const T* x, Y* y, const Strided<2>& kept, const Strided<1>& rows, double scale) {
  ColumnSplit s;
  s.outer = kept;
  const int in = --s.outer.dims;
  s.columns = kept.extent[in];
  s.outer.numel = kept.numel / s.columns;
  s.y_step = kept.stride[1][in];
  s.rows = rows;
  constexpr int kWidth = Pack<T>::n;
  const bool wide = aligned(x, {s.columns}) && steps_aligned(s.outer, kWidth) && steps_aligned(rows, kWidth);
  const i64 packs = wide ? s.columns / kWidth : s.columns;
  s.lanes = lanes_for(packs, 32);
  s.blocks = (packs + s.lanes - 1) / s.lanes;
  const i64 lines = kBlock / s.lanes, items = s.outer.numel * s.blocks, target = i64{4} * multiprocessors();
  if (items < target) s.parts = std::clamp<i64>(rows.numel / (8 * lines), 1, (target + items - 1) / items);
  s.share = (rows.numel + s.parts - 1) / s.parts;
  double* partial = nullptr;
  if (s.parts > 1)
    partial = scratch_of<double>(Scratch::kernel, static_cast<std::size_t>(s.outer.numel * s.parts * s.columns));
  const dim3 grid = blocks_for(items * s.parts, 1);
  if (wide)
    launch(reduce_columns<T, Y, is_max, kWidth>, grid, dim3(kBlock), 0, stream(), x, y, partial, s, scale);
  else
    launch(reduce_columns<T, Y, is_max, 1>, grid, dim3(kBlock), 0, stream(), x, y, partial, s, scale);
  if (partial != nullptr) join_parts<Y, is_max>(partial, y, s, scale);
}

template <class T, class Y, bool is_max>
void rows(const T* x, Y* y, const Strided<2>& kept, const Strided<1>& run, double scale) {
  const i64 outputs = kept.numel;
  double* partial = nullptr;
  i64 parts = 1, share = run.numel;
  const auto go = [&](auto kernel, dim3 grid, int threads) {
    launch(kernel, grid, dim3(static_cast<unsigned>(threads)), 0, stream(), x, y, partial, kept, run, parts, share,
           scale);
  };
  if (run.numel <= 16) return go(reduce_rows<T, Y, is_max, ThreadGroup, 0>, blocks_for(outputs, kBlock), kBlock);
  constexpr int kWidth = Pack<T>::n;
  const bool wide = run.dims == 1 && run.stride[0][0] == 1 && aligned(x, {run.numel}) && steps_aligned(kept, kWidth);
  if (wide && run.numel <= 1024)
    return go(reduce_rows<T, Y, is_max, WarpGroup, kWidth>, blocks_for(outputs, kBlock / kWarp), kBlock);
  // few outputs, many terms: blocks share them
  constexpr i64 kShare = 8192;
  const i64 target = i64{8} * multiprocessors();
  if (outputs < target) parts = std::clamp<i64>(run.numel / kShare, 1, (target + outputs - 1) / outputs);
  share = ((run.numel + parts - 1) / parts + kWidth - 1) / kWidth * kWidth;
  if (parts > 1) partial = scratch_of<double>(Scratch::kernel, static_cast<std::size_t>(outputs * parts));
  const int threads = run.numel <= 512 ? 32 : run.numel <= 4096 ? 128 : kBlock;
  const dim3 grid = blocks_for(outputs * parts, 1);
  if (wide)
    go(reduce_rows<T, Y, is_max, BlockGroup, kWidth>, grid, threads);
  else
    go(reduce_rows<T, Y, is_max, BlockGroup, 0>, grid, threads);
  if (partial == nullptr) return;
  ColumnSplit s;
  s.outer = kept;
  s.columns = 1;
  s.parts = parts;
  join_parts<Y, is_max>(partial, y, s, scale);
}

}  // namespace

void reduce(const Reduce& a) {
  const View &x = a.x, &y = a.y;
  check(x.ndim() == y.ndim(), "reduce", "expected y with x's {} dims, got {}", x.ndim(), y.shape.str());
  std::array<int, kMaxDims> order{};
  for (int d = 0; d < x.ndim(); ++d) {
    check(y.dim(d) == x.dim(d) || y.dim(d) == 1, "reduce", "expected y of extents 1 or x's ({}), got {}", x.shape.str(),
          y.shape.str());
    order[static_cast<std::size_t>(d)] = d;
  }
  if (y.numel() == 0) return;
  const i64 count = x.numel() / y.numel();
  check(a.kind != ReduceKind::max || count > 0, "reduce", "the maximum of no elements (shape {}) is not defined",
        x.shape.str());
  // Outermost first, by x's strides.
  std::stable_sort(order.begin(), order.begin() + x.ndim(), [&](int p, int q) { return x.strides[p] > x.strides[q]; });
  Strided<2> kept;
  Strided<1> reduced;
  kept.numel = reduced.numel = 1;
  bool by_columns = false;  // of the innermost dim that is longer than 1
  for (int i = 0; i < x.ndim(); ++i) {
    const int d = order[static_cast<std::size_t>(i)];
    if (x.dim(d) == 1) continue;
    by_columns = y.dim(d) != 1 && x.strides[d] == 1;
    if (y.dim(d) == 1)
      push_inner<1>(reduced, x.dim(d), {x.strides[d]});
    else
      push_inner<2>(kept, x.dim(d), {x.strides[d], y.strides[d]});
  }
  by_columns = by_columns && reduced.numel > 16;
  const double scale = a.kind == ReduceKind::mean ? 1.0 / static_cast<double>(count) : 1.0;
  const auto as = [&](auto from, auto to) {
    using T = decltype(from);
    using Y = decltype(to);
    const T* px = x.ptr<T>();
    Y* py = y.ptr<Y>();
    if (a.kind == ReduceKind::max)
      by_columns ? columns<T, Y, true>(px, py, kept, reduced, scale) : rows<T, Y, true>(px, py, kept, reduced, scale);
    else
      by_columns ? columns<T, Y, false>(px, py, kept, reduced, scale) : rows<T, Y, false>(px, py, kept, reduced, scale);
  };
  if (x.dtype == DType::bf16 && y.dtype == DType::f32) return as(bf16{}, float{});
  visit_float(x.dtype, "reduce", [&](auto e) { as(e, e); });
}

}  // namespace spn::kernels::cuda
