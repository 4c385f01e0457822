// What kernels that take rows by index ask of their arguments, the same on every device.
#pragma once

#include "engine/core/view.h"

namespace spn::kernels {

struct IndexedRows {
  const std::int64_t* index;
  std::int64_t count, length;
};

// `few` has index's rows, `all` the rows that index points into. The index's values are each device's to look at.
inline IndexedRows indexed_rows(const char* where, const View& index, const View& few, const View& all) {
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

}  // namespace spn::kernels
