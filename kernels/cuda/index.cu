// Rows by index and their sums by index.
#include "kernels/checks/index.h"
#include "kernels/cuda/device/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

struct alignas(16) Sixteen {
  std::uint64_t v[2];
};

}  // namespace

void gather_rows(const GatherRows& a) {
  const IndexedRows r = indexed_rows("gather_rows", a.index, a.y, a.x);
  const auto bytes = static_cast<std::uintptr_t>(r.length) * size_of(a.x.dtype);
  if (bytes == 0 || r.count == 0) return;
  const auto go = [&]<class Unit>(Unit) {
    const auto units = static_cast<std::int64_t>(bytes / sizeof(Unit));
    launch(gather_units<Unit>, grid_for(r.count * units), dim3(kBlock), 0, stream(), static_cast<const Unit*>(a.x.data),
           r.index, static_cast<Unit*>(a.y.data), r.count, units, a.x.dim(0));
  };
  const std::uintptr_t fits = bytes | reinterpret_cast<std::uintptr_t>(a.x.data) |
                              reinterpret_cast<std::uintptr_t>(a.y.data);  // the largest unit that divides them all
  if (fits % 16 == 0) return go(Sixteen{});
  if (fits % 4 == 0) return go(std::uint32_t{});
  if (fits % 2 == 0) return go(std::uint16_t{});
  go(std::uint8_t{});
}

void scatter_add_rows(const ScatterAddRows& a) {
  const IndexedRows r = indexed_rows("scatter_add_rows", a.index, a.x, a.y);
  if (a.y.numel() == 0) return;
  const std::int64_t rows = a.y.dim(0), pieces = (r.length + kScatterColumns - 1) / kScatterColumns;
  visit_float(a.y.dtype, "scatter_add_rows", [&](auto e) {
    using T = decltype(e);
    launch(scatter_add<T>, grid_for(rows * pieces, 1), dim3(kScatterThreads), 0, stream(), a.x.ptr<T>(), r.index,
           a.y.ptr<T>(), r.count, r.length, rows);
  });
}

}  // namespace spn::kernels::cuda
