// Coalesces views of one shape for device kernels (device/strided.h). Host only.
#pragma once

#include <array>

#include "engine/core/view.h"
#include "kernels/cuda/device/strided.h"

namespace spn::kernels::cuda {

// Extents of 1 are dropped, and neighbours that every view walks as one are joined; view 0 gives the shape.
template <int N>
Strided<N> coalesce(const char* where, const std::array<const View*, N>& views) {
  const Shape& shape = views[0]->shape;
  for (const View* v : views)
    check(v->shape == shape, where, "expected views of one shape, got {} and {}", shape.str(), v->shape.str());
  Strided<N> s;
  s.numel = shape.numel();
  for (int d = 0; d < shape.ndim(); ++d) {
    if (shape[d] == 1) continue;
    bool joins = s.dims > 0;
    for (int v = 0; v < N && joins; ++v)
      joins = s.stride[v][s.dims - 1] == views[static_cast<std::size_t>(v)]->strides[d] * shape[d];
    if (!joins) s.extent[s.dims++] = 1;
    s.extent[s.dims - 1] *= shape[d];
    for (int v = 0; v < N; ++v) s.stride[v][s.dims - 1] = views[static_cast<std::size_t>(v)]->strides[d];
  }
  return s;
}

// One run of unit stride in all views, and pointers fit for 16-byte access.
template <int N>
bool is_flat(const Strided<N>& s, const std::array<const View*, N>& views) {
  if (s.dims > 1) return false;
  for (int v = 0; v < N; ++v) {
    if (s.dims == 1 && s.stride[v][0] != 1) return false;
    if (reinterpret_cast<std::uintptr_t>(views[static_cast<std::size_t>(v)]->data) % 16 != 0) return false;
  }
  return true;
}

}  // namespace spn::kernels::cuda
