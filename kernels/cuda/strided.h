// Coalesces views of one shape for device kernels (device/strided.h). Host only.
#pragma once

#include <array>
#include <optional>

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

// s with packs of `width` adjacent elements as its elements, where every view allows it: unit stride innermost, all
// else a multiple of the pack, pointers fit for 16-byte access. A view behind the first may repeat one value there
// (stride 0).
template <int N>
std::optional<Strided<N>> in_packs(Strided<N> s, int width, const std::array<const View*, N>& views) {
  if (s.dims == 0) return std::nullopt;
  const int in = s.dims - 1;
  if (s.extent[in] % width != 0) return std::nullopt;
  for (int v = 0; v < N; ++v) {
    if (v > 0 && s.stride[v][in] == 0) continue;
    if (s.stride[v][in] != 1) return std::nullopt;
    if (reinterpret_cast<std::uintptr_t>(views[static_cast<std::size_t>(v)]->data) % 16 != 0) return std::nullopt;
    for (int d = 0; d < in; ++d)
      if (s.stride[v][d] % width != 0) return std::nullopt;
    s.stride[v][in] = width;
  }
  s.extent[in] /= width;
  s.numel /= width;
  return s;
}

}  // namespace spn::kernels::cuda
