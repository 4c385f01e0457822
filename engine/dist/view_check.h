// Argument checks shared by the communicators.
#pragma once

#include "engine/core/view.h"

namespace spn::dist {

inline void require_contiguous(const char* where, const View& v) {
  check(v.data != nullptr || v.numel() == 0, where, "expected a view with data, got an absent one of shape {}",
        v.shape.str());
  check(v.is_contiguous(), where, "expected a contiguous view, got shape {} with strides {}; copy it first",
        v.shape.str(), v.strides.str());
}

// `part` [n, …] against `whole` [ranks · n, …]: same dtype, same trailing extents.
inline void require_rows(const char* where, const View& part, const View& whole, int ranks) {
  require_contiguous(where, part);
  require_contiguous(where, whole);
  check(part.dtype == whole.dtype, where, "expected one dtype, got {} and {}", name_of(part.dtype),
        name_of(whole.dtype));
  check(part.ndim() >= 1 && whole.ndim() == part.ndim(), where, "expected equal dims, got {} and {}", part.shape.str(),
        whole.shape.str());
  Shape want = part.shape;
  want[0] *= ranks;
  check(whole.shape == want, where, "expected the joined view to be {} for {} ranks, got {}", want.str(), ranks,
        whole.shape.str());
}

}  // namespace spn::dist
