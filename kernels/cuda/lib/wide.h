// Scratch cut into views: other layouts for a library, and f32 copies of bf16 for what it cannot do in bf16.
#pragma once

#include <cstddef>
#include <initializer_list>

#include "engine/core/view.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"

namespace spn::kernels::cuda {

// One scratch allocation, cut up.
class Cut {
 public:
  explicit Cut(std::size_t bytes, Scratch user = Scratch::layout)
      : at_(static_cast<std::byte*>(scratch(user, bytes))) {}
  static std::size_t room(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
  static std::size_t room(const View& v) { return room(v.bytes()); }
  // A view of v's shape in the memory order that is wanted, in `dtype`.
  View take(const View& v, bool channels_last, DType dtype) {
    View r = v;
    r.dtype = dtype;
    r.data = at_;
    r.strides = channels_last ? channels_last_strides(v.shape) : contiguous_strides(v.shape);
    at_ += room(r);
    return r;
  }

 private:
  std::byte* at_;
};

// Copies in f32; absent views stay absent, and those in f32 themselves.
class Wide {
 public:
  explicit Wide(std::initializer_list<const View*> views) : cut_(room(views), Scratch::widened) {}
  View in(const View& v) {
    const View w = out(v);
    if (w.data != v.data) copy({.x = v, .y = w});
    return w;
  }
  View out(const View& v) {
    if (!v || v.dtype == DType::f32) return v;
    return cut_.take(v, v.ndim() == 4 && v.is_channels_last() && !v.is_contiguous(), DType::f32);
  }
  // Rounded back into v, if it is a copy.
  static void round(const View& wide, const View& v) {
    if (wide.data != v.data) copy({.x = wide, .y = v});
  }

 private:
  static std::size_t room(std::initializer_list<const View*> views) {
    std::size_t bytes = 0;
    for (const View* v : views)
      if (*v) bytes += Cut::room(static_cast<std::size_t>(v->numel()) * sizeof(float));
    return bytes;
  }
  Cut cut_;
};

}  // namespace spn::kernels::cuda
