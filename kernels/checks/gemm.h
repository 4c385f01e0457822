// What matrix products ask of their arguments, the same on every device.
#pragma once

#include <algorithm>

#include "kernels/args/gemm.h"
#include "kernels/args/reduce.h"

namespace spn::kernels {

inline void check_gemm(const Gemm& g) {
  const View &a = g.a, &b = g.b, &c = g.c;
  check(a.ndim() >= 2 && b.ndim() >= 2 && c.ndim() >= std::max(a.ndim(), b.ndim()), "gemm",
        "expected matrices, got {} · {} -> {}", a.shape.str(), b.shape.str(), c.shape.str());
  check(a.dim(-1) == b.dim(-2) && a.dim(-2) == c.dim(-2) && b.dim(-1) == c.dim(-1), "gemm",
        "expected [m,k] · [k,n] -> [m,n], got {} · {} -> {}", a.shape.str(), b.shape.str(), c.shape.str());
  check(a.dtype == b.dtype && (c.dtype == a.dtype || (a.dtype == DType::bf16 && c.dtype == DType::f32)), "gemm",
        "expected one dtype (or bf16 to f32), got {}, {} and {}", name_of(a.dtype), name_of(b.dtype), name_of(c.dtype));
  check(!g.bias || (g.bias.ndim() == 1 && g.bias.dim(0) == c.dim(-1) && g.bias.is_contiguous()), "gemm",
        "expected a contiguous bias [{}], got {}", c.dim(-1), g.bias.shape.str());
  check(g.act == Activation::none || !g.accumulate, "gemm", "an activation cannot be accumulated");
  if (!g.sums) return;
  check(c.ndim() == 2 && g.sums.ndim() == 1 && g.sums.dim(0) == c.dim(0) && g.sums.is_contiguous() &&
            g.sums.dtype == c.dtype,
        "gemm", "sums: expected contiguous {} [{}] beside a result [m,n], got {} {} beside {}", name_of(c.dtype),
        c.dim(0), name_of(g.sums.dtype), g.sums.shape.str(), c.shape.str());
  check(!g.bias && g.act == Activation::none && !g.accumulate, "gemm",
        "sums come beside a plain product: no bias, activation or accumulation");
}

// What a product's sums are by themselves, of its a as the k rows that it is in a layer's backward.
inline Reduce gemm_sums(const Gemm& g) {
  View x = g.a, y = g.sums;
  std::swap(x.shape[0], x.shape[1]);
  std::swap(x.strides[0], x.strides[1]);
  y.shape = {1, g.sums.dim(0)};
  y.strides = {g.sums.dim(0), 1};
  return {.kind = ReduceKind::sum, .x = x, .y = y};
}

}  // namespace spn::kernels
