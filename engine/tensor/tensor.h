// Tensor: a strided view that shares ownership of its storage. Copies are cheap (they share); arithmetic lives in ops.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/core/view.h"

namespace spn {

class Tensor {
 public:
  Tensor() = default;  // absent: converts to a View without data

  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor empty_strided(const Shape& shape, const Shape& strides, DType dtype = DType::f32, Device device = {});
  // [N,C,H,W] stored N,H,W,C.
  static Tensor empty_channels_last(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = {});
  // Same shape, layout, dtype and device, uninitialised. A view with gaps becomes contiguous.
  static Tensor empty_like(const Tensor& t);
  static Tensor zeros_like(const Tensor& t);
  // Copies host values; numel must match.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = {}) {
    return from_bytes(values.data(), values.size(), dtype_of<T>, shape, device);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = {}) {
    return from(std::span<const T>(values), shape, device);
  }

  explicit operator bool() const { return static_cast<bool>(v_); }
  operator const View&() const { return v_; }  // NOLINT: kernels and collectives take views
  const View& view() const { return v_; }

  const Shape& shape() const { return v_.shape; }
  const Shape& strides() const { return v_.strides; }
  std::int64_t dim(int d) const { return v_.shape[d]; }
  int ndim() const { return v_.ndim(); }
  std::int64_t numel() const { return v_.numel(); }
  std::size_t bytes() const { return v_.bytes(); }
  DType dtype() const { return v_.dtype; }
  Device device() const { return v_.device; }
  bool is_contiguous() const { return v_.is_contiguous(); }
  bool is_channels_last() const { return v_.is_channels_last(); }
  template <class T>
  T* data() const {
    return v_.ptr<T>();
  }

  // Views of the same storage.
  Tensor reshape(const Shape& shape) const;  // one extent may be -1; copies when the strides do not allow a view
  Tensor transpose(int a, int b) const;
  Tensor permute(std::initializer_list<int> order) const;
  Tensor narrow(int dim, std::int64_t start, std::int64_t length) const;
  Tensor expand(const Shape& shape) const;           // broadcast: stride 0
  Tensor select(int dim, std::int64_t index) const;  // narrow to one and drop the dim
  Tensor unsqueeze(int dim) const;

  // Copies (kernels), or the tensor itself where nothing has to change.
  Tensor contiguous() const;
  Tensor channels_last() const;
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;
  Tensor clone() const;                     // contiguous or channels-last, as it is
  void copy_from(const Tensor& src) const;  // into this storage; equal shapes; between devices: contiguous, one dtype
  void fill(double value) const;

  // Host values in row-major order. item: the only element.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> out(static_cast<std::size_t>(numel()));
    to_host(out.data(), dtype_of<T>);
    return out;
  }
  double item() const;

  // How many tensors share the storage: 1 means nobody else would see a write.
  long use_count() const { return storage_.use_count(); }
  bool shares_storage_with(const Tensor& o) const { return storage_ != nullptr && storage_ == o.storage_; }

 private:
  static Tensor from_bytes(const void* data, std::size_t n, DType dtype, const Shape& shape, Device device);
  void to_host(void* out, DType dtype) const;
  Tensor with(const Shape& shape, const Shape& strides, std::int64_t offset) const;

  std::shared_ptr<void> storage_;
  View v_;
};

}  // namespace spn
