// Walks several views of equal shape together: dims are ordered by the first view's strides and merged where all views
// allow, so that most tensors become one contiguous run, and the rest rows with a fixed stride.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/core/view.h"
#include "kernels/cpu/parallel.h"

namespace spn::kernels::cpu {

template <int N>
class StridedLoop {
 public:
  using Offsets = std::array<std::int64_t, N>;

  // Throws when the shapes differ. The first view leads the order: give it the output.
  StridedLoop(const char* where, const std::array<const View*, N>& views) {
    const View& first = *views[0];
    for (const View* v : views)
      check(v->shape == first.shape, where, "expected equal shapes, got {} and {}", first.shape.str(), v->shape.str());
    numel_ = first.numel();
    std::array<int, kMaxDims> order{};
    int n = 0;
    for (int d = 0; d < first.ndim(); ++d)
      if (first.shape[d] != 1) order[static_cast<std::size_t>(n++)] = d;
    std::stable_sort(order.begin(), order.begin() + n,
                     [&](int a, int b) { return first.strides[a] > first.strides[b]; });
    for (int i = 0; i < n; ++i) {
      const int d = order[static_cast<std::size_t>(i)];
      Offsets st{};
      for (std::size_t k = 0; k < N; ++k) st[k] = views[k]->strides[d];
      bool merge = n_ > 0;
      for (std::size_t k = 0; merge && k < N; ++k) merge = strides_[last()][k] == st[k] * first.shape[d];
      if (merge) {
        extents_[last()] *= first.shape[d];
        strides_[last()] = st;
      } else {
        extents_[static_cast<std::size_t>(n_)] = first.shape[d];
        strides_[static_cast<std::size_t>(n_++)] = st;
      }
    }
    if (n_ == 0) {  // one element
      n_ = 1;
      extents_[0] = 1;
      strides_[0].fill(1);
    }
  }

  std::int64_t numel() const { return numel_; }
  // The innermost run: its length and each view's stride along it.
  std::int64_t inner() const { return extents_[last()]; }
  const Offsets& inner_strides() const { return strides_[last()]; }
  bool all_unit() const {
    for (std::int64_t s : inner_strides())
      if (s != 1) return false;
    return true;
  }

  // f(offsets, length): runs along the innermost dim, each inside one thread's share. cost: operations an element.
  void run(std::int64_t cost, FunctionRef<void(const Offsets&, std::int64_t)> f) const {
    if (numel_ == 0) return;
    if (n_ == 1) {  // split the run itself
      parallel_for(inner(), cost, [&](std::int64_t b, std::int64_t e) {
        Offsets at{};
        for (std::size_t k = 0; k < N; ++k) at[k] = b * strides_[0][k];
        f(at, e - b);
      });
      return;
    }
    const std::int64_t rows = numel_ / inner();
    parallel_for(rows, inner() * cost, [&](std::int64_t b, std::int64_t e) {
      std::array<std::int64_t, kMaxDims> index{};
      Offsets at{};
      std::int64_t rest = b;
      for (int d = n_ - 2; d >= 0; --d) {
        const auto u = static_cast<std::size_t>(d);
        index[u] = rest % extents_[u];
        rest /= extents_[u];
        for (std::size_t k = 0; k < N; ++k) at[k] += index[u] * strides_[u][k];
      }
      for (std::int64_t row = b; row < e; ++row) {
        f(at, inner());
        for (int d = n_ - 2; d >= 0; --d) {
          const auto u = static_cast<std::size_t>(d);
          for (std::size_t k = 0; k < N; ++k) at[k] += strides_[u][k];
          if (++index[u] < extents_[u]) break;
          for (std::size_t k = 0; k < N; ++k) at[k] -= extents_[u] * strides_[u][k];
          index[u] = 0;
        }
      }
    });
  }

 private:
  std::size_t last() const { return static_cast<std::size_t>(n_ - 1); }
  int n_ = 0;
  std::int64_t numel_ = 0;
  std::array<std::int64_t, kMaxDims> extents_{};
  std::array<Offsets, kMaxDims> strides_{};
};

}  // namespace spn::kernels::cpu
