// Shapes and strides: up to kMaxDims extents held in place.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "engine/core/check.h"

namespace spn {

inline constexpr int kMaxDims = 6;

// A short list of int64: extents (row-major, outermost first) or strides in elements.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> v) { assign(v.begin(), v.end()); }
  explicit Shape(std::span<const std::int64_t> v) { assign(v.begin(), v.end()); }

  int ndim() const { return n_; }
  bool empty() const { return n_ == 0; }
  // d may be negative, counted from the end.
  std::int64_t operator[](int d) const { return v_[static_cast<std::size_t>(index(d))]; }
  std::int64_t& operator[](int d) { return v_[static_cast<std::size_t>(index(d))]; }
  const std::int64_t* begin() const { return v_.data(); }
  const std::int64_t* end() const { return v_.data() + n_; }
  const std::int64_t* data() const { return v_.data(); }
  void push_back(std::int64_t e) {
    check(n_ < kMaxDims, "shape", "expected at most {} dims, got one more", kMaxDims);
    v_[static_cast<std::size_t>(n_++)] = e;
  }
  // Product of the extents; 1 for a scalar (no dims).
  std::int64_t numel() const {
    std::int64_t p = 1;
    for (std::int64_t e : *this) p *= e;
    return p;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.n_ != b.n_) return false;
    for (int i = 0; i < a.n_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < n_; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
    return s + "]";
  }

 private:
  template <class It>
  void assign(It b, It e) {
    for (; b != e; ++b) push_back(*b);
  }
  int index(int d) const {
    const int i = d < 0 ? d + n_ : d;
    check(i >= 0 && i < n_, "shape", "dim {} is outside {} dims", d, n_);
    return i;
  }
  std::array<std::int64_t, kMaxDims> v_{};
  int n_ = 0;
};

// Row-major strides, in elements.
inline Shape contiguous_strides(const Shape& s) {
  Shape st = s;
  std::int64_t p = 1;
  for (int i = s.ndim() - 1; i >= 0; --i) {
    st[i] = p;
    p *= s[i];
  }
  return st;
}

// Strides of a logical [N,C,H,W] whose memory order is N,H,W,C.
inline Shape channels_last_strides(const Shape& s) {
  check(s.ndim() == 4, "channels_last_strides", "expected [N,C,H,W], got {}", s.str());
  return Shape{s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]};
}

// NumPy's rule: trailing dims equal, or 1. Throws with both shapes.
inline Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view where) {
  const int n = a.ndim() > b.ndim() ? a.ndim() : b.ndim();
  Shape r;
  for (int i = 0; i < n; ++i) {
    const int ia = i - (n - a.ndim()), ib = i - (n - b.ndim());
    const std::int64_t ea = ia < 0 ? 1 : a[ia], eb = ib < 0 ? 1 : b[ib];
    check(ea == eb || ea == 1 || eb == 1, where, "cannot broadcast {} with {}: dim {} has {} and {}", a.str(), b.str(),
          i, ea, eb);
    r.push_back(ea == 1 ? eb : ea);
  }
  return r;
}

}  // namespace spn
