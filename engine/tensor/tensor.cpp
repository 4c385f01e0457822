#include "engine/tensor/tensor.h"

#include "kernels/table.h"

namespace spn {

using kernels::run;
using kernels::Table;
using kernels::table_for;

Tensor Tensor::empty_strided(const Shape& shape, const Shape& strides, DType dtype, Device device) {
  for (std::int64_t e : shape) check(e >= 0, "tensor", "expected extents of at least 0, got {}", shape.str());
  Tensor t;
  t.v_ = View{nullptr, dtype, device, shape, strides};
  const std::size_t bytes = t.v_.bytes();
  const Table& table = table_for(device);
  t.v_.data = table.alloc(bytes);
  t.storage_ = std::shared_ptr<void>(t.v_.data, [release = table.release, bytes](void* p) { release(p, bytes); });
  return t;
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  return empty_strided(shape, contiguous_strides(shape), dtype, device);
}

Tensor Tensor::empty_channels_last(const Shape& shape, DType dtype, Device device) {
  return empty_strided(shape, channels_last_strides(shape), dtype, device);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::empty_like(const Tensor& t) {
  const bool dense = t.is_contiguous() || t.is_channels_last();
  return empty_strided(t.shape(), dense ? t.strides() : contiguous_strides(t.shape()), t.dtype(), t.device());
}

Tensor Tensor::zeros_like(const Tensor& t) {
  Tensor z = empty_like(t);
  z.fill(0);
  return z;
}

Tensor Tensor::from_bytes(const void* data, std::size_t n, DType dtype, const Shape& shape, Device device) {
  check(static_cast<std::size_t>(shape.numel()) == n, "tensor", "expected {} values for shape {}, got {}",
        shape.numel(), shape.str(), n);
  Tensor t = empty(shape, dtype, device);
  table_for(device).transfer(t.v_.data, data, n * size_of(dtype));
  return t;
}

Tensor Tensor::with(const Shape& shape, const Shape& strides, std::int64_t offset) const {
  Tensor t = *this;
  t.v_.shape = shape;
  t.v_.strides = strides;
  t.v_.data = static_cast<std::byte*>(v_.data) + offset * static_cast<std::int64_t>(size_of(v_.dtype));
  return t;
}

Tensor Tensor::reshape(const Shape& wanted) const {
  Shape s = wanted;
  std::int64_t known = 1;
  int hole = -1;
  for (int i = 0; i < s.ndim(); ++i) {
    if (s[i] == -1) {
      check(hole < 0, "reshape", "expected at most one -1, got {}", wanted.str());
      hole = i;
    } else {
      known *= s[i];
    }
  }
  if (hole >= 0) s[hole] = known == 0 ? 0 : numel() / known;
  check(s.numel() == numel(), "reshape", "cannot make {} of {}: {} elements against {}", wanted.str(), shape().str(),
        s.numel(), numel());
  if (is_contiguous()) return with(s, contiguous_strides(s), 0);
  return contiguous().reshape(s);
}

Tensor Tensor::transpose(int a, int b) const {
  Shape s = shape(), st = strides();
  std::swap(s[a], s[b]);
  std::swap(st[a], st[b]);
  return with(s, st, 0);
}

Tensor Tensor::permute(std::initializer_list<int> order) const {
  check(static_cast<int>(order.size()) == ndim(), "permute", "expected {} dims, got {}", ndim(), order.size());
  Shape s, st;
  for (int d : order) {
    s.push_back(shape()[d]);
    st.push_back(strides()[d]);
  }
  return with(s, st, 0);
}

Tensor Tensor::narrow(int dim, std::int64_t start, std::int64_t length) const {
  check(start >= 0 && length >= 0 && start + length <= shape()[dim], "narrow", "[{}, {}) is outside dim {} of {}",
        start, start + length, dim, shape().str());
  Shape s = shape();
  s[dim] = length;
  return with(s, strides(), start * strides()[dim]);
}

Tensor Tensor::select(int dim, std::int64_t index) const {
  const Tensor n = narrow(dim, index, 1);
  const int d = dim < 0 ? dim + ndim() : dim;
  Shape s, st;
  for (int i = 0; i < ndim(); ++i) {
    if (i == d) continue;
    s.push_back(n.shape()[i]);
    st.push_back(n.strides()[i]);
  }
  return n.with(s, st, 0);
}

Tensor Tensor::unsqueeze(int dim) const {
  const int d = dim < 0 ? dim + ndim() + 1 : dim;
  Shape s, st;
  for (int i = 0; i <= ndim(); ++i) {
    if (i == d) {
      s.push_back(1);
      st.push_back(i < ndim() ? strides()[i] * shape()[i] : 1);
    }
    if (i < ndim()) {
      s.push_back(shape()[i]);
      st.push_back(strides()[i]);
    }
  }
  return with(s, st, 0);
}

Tensor Tensor::expand(const Shape& to) const {
  check(to.ndim() >= ndim() && broadcast_shape(shape(), to, "expand") == to, "expand", "cannot expand {} to {}",
        shape().str(), to.str());
  Shape st = to;
  const int lead = to.ndim() - ndim();
  for (int i = 0; i < to.ndim(); ++i) {
    const bool own = i >= lead && shape()[i - lead] == to[i];
    st[i] = own ? strides()[i - lead] : 0;
  }
  return with(to, st, 0);
}

Tensor Tensor::contiguous() const {
  if (is_contiguous()) return *this;
  Tensor y = empty(shape(), dtype(), device());
  y.copy_from(*this);
  return y;
}

Tensor Tensor::channels_last() const {
  if (is_channels_last()) return *this;
  Tensor y = empty_channels_last(shape(), dtype(), device());
  y.copy_from(*this);
  return y;
}

Tensor Tensor::to(DType want) const {
  if (dtype() == want) return *this;
  const bool cl = !is_contiguous() && is_channels_last();
  Tensor y = cl ? empty_channels_last(shape(), want, device()) : empty(shape(), want, device());
  run<&Table::copy>({.x = *this, .y = y});
  return y;
}

Tensor Tensor::to(Device want) const {
  if (device() == want) return *this;
  const Tensor src = clone();
  Tensor y = empty_strided(src.shape(), src.strides(), dtype(), want);
  table_for(want.type == DeviceType::cpu ? device() : want).transfer(y.v_.data, src.v_.data, bytes());
  return y;
}

Tensor Tensor::clone() const {
  Tensor y = empty_like(*this);
  y.copy_from(*this);
  return y;
}

void Tensor::copy_from(const Tensor& src) const {
  check(src.shape() == shape(), "copy", "expected shape {}, got {}", shape().str(), src.shape().str());
  if (numel() == 0) return;
  if (src.dtype() == dtype() && src.is_contiguous() && is_contiguous()) {
    table_for(device().type == DeviceType::cpu ? src.device() : device()).transfer(v_.data, src.v_.data, bytes());
    return;
  }
  run<&Table::copy>({.x = src, .y = *this});
}

void Tensor::fill(double value) const {
  if (numel() != 0) run<&Table::copy>({.value = value, .y = *this});
}

void Tensor::to_host(void* out, DType want) const {
  const Tensor host = to(want).to(Device{}).contiguous();
  table_for(Device{}).transfer(out, host.v_.data, host.bytes());
}

double Tensor::item() const {
  check(numel() == 1, "item", "expected one element, got shape {}", shape().str());
  return to_vector<double>()[0];
}

}  // namespace spn
