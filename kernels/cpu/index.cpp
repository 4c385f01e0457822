// Rows by index and their sums by index.
#include "kernels/checks/index.h"

#include <cstring>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/scratch.h"

namespace spn::kernels::cpu {
namespace {

// Every index looked at, before any thread starts.
IndexedRows rows_of(const char* where, const View& index, const View& few, const View& all) {
  const IndexedRows r = indexed_rows(where, index, few, all);
  for (std::int64_t k = 0; k < r.count; ++k)
    check(r.index[k] >= 0 && r.index[k] < all.dim(0), where, "index {} is {}; expected a row in [0, {})", k, r.index[k],
          all.dim(0));
  return r;
}

}  // namespace

void gather_rows(const GatherRows& a) {
  const IndexedRows r = rows_of("gather_rows", a.index, a.y, a.x);
  const auto bytes = static_cast<std::size_t>(r.length) * size_of(a.x.dtype);
  const auto* x = static_cast<const std::byte*>(a.x.data);
  auto* y = static_cast<std::byte*>(a.y.data);
  if (bytes == 0) return;
  parallel_for(r.count, r.length, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      std::memcpy(y + static_cast<std::size_t>(i) * bytes, x + static_cast<std::size_t>(r.index[i]) * bytes, bytes);
  });
}

// Threads share out the columns, so that every sum is added in the order of the index. bf16 adds up in float.
void scatter_add_rows(const ScatterAddRows& a) {
  const IndexedRows r = rows_of("scatter_add_rows", a.index, a.x, a.y);
  if (a.y.numel() == 0) return;
  visit_float(a.y.dtype, "scatter_add_rows", [&](auto e) {
    using T = decltype(e);
    using C = compute_t<T>;
    const T* x = a.x.ptr<T>();
    static thread_local Scratch<C> memory;
    C* sum = nullptr;
    if constexpr (std::is_same_v<T, C>)
      sum = a.y.ptr<T>();
    else
      sum = memory.get(a.y.numel());
    std::fill_n(sum, a.y.numel(), C(0));
    parallel_for(r.length, r.count, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = 0; i < r.count; ++i) {
        const T* p = x + i * r.length;
        C* q = sum + r.index[i] * r.length;
#pragma omp simd
        for (std::int64_t c = begin; c < end; ++c) q[c] += load(p[c]);
      }
    });
    if constexpr (!std::is_same_v<T, C>) copy({.x = host_view(sum, a.y.shape), .y = a.y});
  });
}

}  // namespace spn::kernels::cpu
