// View: what kernels and collectives take. Pointer, dtype, device, shape, strides; owns nothing.
#pragma once

#include "engine/core/dtype.h"
#include "engine/core/shape.h"

namespace spn {

// meta: shapes without memory (kernels/meta.h).
enum class DeviceType : std::uint8_t { cpu, cuda, meta };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

inline std::string to_string(const Device& d) {
  return d.type == DeviceType::cpu ? "cpu" : d.type == DeviceType::meta ? "meta" : "cuda:" + std::to_string(d.index);
}

struct View {
  void* data = nullptr;  // null: absent (an output that nobody wants, an optional input)
  DType dtype = DType::f32;
  Device device;
  Shape shape;
  Shape strides;  // in elements

  explicit operator bool() const { return data != nullptr; }
  int ndim() const { return shape.ndim(); }
  std::int64_t dim(int d) const { return shape[d]; }
  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }

  // Row-major without gaps. Dims of extent 1 may have any stride.
  bool is_contiguous() const {
    std::int64_t p = 1;
    for (int i = ndim() - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != p) return false;
      p *= shape[i];
    }
    return true;
  }
  // [N,C,H,W] stored as N,H,W,C without gaps.
  bool is_channels_last() const {
    if (ndim() != 4) return false;
    const Shape want = channels_last_strides(shape);
    for (int i = 0; i < 4; ++i)
      if (shape[i] != 1 && strides[i] != want[i]) return false;
    return true;
  }

  template <class T>
  T* ptr() const {
    check(dtype == dtype_of<T>, "view", "expected {}, got {}", name_of(dtype_of<T>), name_of(dtype));
    return static_cast<T*>(data);
  }
  template <class T>
  T* ptr_or_null() const {  // absent: whatever its dtype says
    return data == nullptr ? nullptr : ptr<T>();
  }
};

// A contiguous host view over memory that the caller owns.
template <class T>
View host_view(T* data, const Shape& shape) {
  return View{const_cast<std::remove_const_t<T>*>(data), dtype_of<std::remove_const_t<T>>, Device{}, shape,
              contiguous_strides(shape)};
}

}  // namespace spn
