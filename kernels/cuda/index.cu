// Rows by index and their sums by index.
#include "kernels/cuda/device/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

struct Rows {
  const std::int64_t* index;
  std::int64_t count, length;
};

// `few` has index's rows, `all` the rows that index points into.
Rows rows_of(const char* where, const View& index, const View& few, const View& all) {
  check(index.ndim() == 1 && index.is_contiguous(), where, "expected a contiguous index [m], got {}",
        index.shape.str());
  check(few.ndim() >= 1 && few.ndim() == all.ndim() && few.dtype == all.dtype && few.is_contiguous() &&
            all.is_contiguous() && few.dim(0) == index.dim(0),
        where, "expected contiguous [{}, …] against [rows, …] of one dtype, got {} and {}", index.dim(0),
        few.shape.str(), all.shape.str());
  std::int64_t length = 1;
  for (int d = 1; d < few.ndim(); ++d) {
    check(few.dim(d) == all.dim(d), where, "expected rows of one shape, got {} and {}", few.shape.str(),
          all.shape.str());
    length *= few.dim(d);
  }
  return {index.ptr<std::int64_t>(), index.dim(0), length};
}

struct alignas(16) Sixteen {
  std::uint64_t v[2];
};

}  // namespace

void gather_rows(const GatherRows& a) {
  const Rows r = rows_of("gather_rows", a.index, a.y, a.x);
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
  const Rows r = rows_of("scatter_add_rows", a.index, a.x, a.y);
  if (a.y.numel() == 0) return;
  const std::int64_t rows = a.y.dim(0), pieces = (r.length + kScatterColumns - 1) / kScatterColumns;
  visit_float(a.y.dtype, "scatter_add_rows", [&](auto e) {
    using T = decltype(e);
    launch(scatter_add<T>, grid_for(rows * pieces, 1), dim3(kScatterThreads), 0, stream(), a.x.ptr<T>(), r.index,
           a.y.ptr<T>(), r.count, r.length, rows);
  });
}

}  // namespace spn::kernels::cuda
