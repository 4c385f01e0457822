// Matrix products: what is asked of cuBLASLt (lib/gemm.cpp), and what is done where it knows no way. Bias and ReLU are
// its epilogues; its GELU is the tanh approximation and ours is exact, so GELU, both activations' gradients and the
// bias's gradient are kernels of ours (docs/decisions/0018-epilogues.md).
#include "kernels/checks/gemm.h"

#include <algorithm>

#include "engine/core/log.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lib/product.h"
#include "kernels/cuda/lib/wide.h"

namespace spn::kernels::cuda {
namespace {

int alignment_of(std::initializer_list<const void*> pointers) {
  std::uintptr_t bits = 16;
  for (const void* p : pointers) bits |= reinterpret_cast<std::uintptr_t>(p);
  return static_cast<int>(bits & (~bits + 1));
}

// v itself where BLAS can walk it, else a dense copy in scratch.
View walkable(const View& v, Scratch user, Matrix& m) {
  if (const auto found = matrix_of(v)) {
    m = *found;
    return v;
  }
  View dense = v;
  dense.strides = contiguous_strides(v.shape);
  dense.data = scratch(user, v.bytes());
  copy({.x = v, .y = dense});
  m = *matrix_of(dense);
  return dense;
}

// The bias in c's dtype: the library takes no f32 bias beside a bf16 result.
View bias_like(const View& bias, DType dtype) {
  if (!bias || bias.dtype == dtype) return bias;
  View same = bias;
  same.dtype = dtype;
  same.strides = contiguous_strides(bias.shape);
  same.data = scratch(Scratch::layout, same.bytes());
  copy({.x = bias, .y = same});
  return same;
}

void activate(Activation act, const View& c) {
  if (act != Activation::none)
    unary_fwd({.op = act == Activation::relu ? UnaryOp::relu : UnaryOp::gelu, .x = c, .y = c});
}

// False: the library has no way even to the plain product.
bool multiplied(const Gemm& g) {
  View c = g.c, a = repeated_like(g.a, c), b = repeated_like(g.b, c);
  batch_to_rows(a, b, c);
  Product p{};
  p.m = c.dim(-2), p.n = c.dim(-1), p.k = a.dim(-1), p.batch = batch_of(c);
  b.shape = c.shape, b.shape[-2] = p.k;  // as many as c has, where a's and c's became rows
  a = walkable(a, Scratch::gemm_a, p.a), b = walkable(b, Scratch::gemm_b, p.b);
  const auto out = matrix_of(c);
  check(out.has_value() && !out->transposed && (p.batch == 1 || out->batch_stride != 0), "gemm",
        "c {} with strides {}: expected unit stride in its last dim and batch dims that join", c.shape.str(),
        c.strides.str());
  p.c = *out;
  const View bias = bias_like(g.bias, c.dtype);
  p.in = a.dtype, p.out = c.dtype, p.bias = bias ? bias.dtype : c.dtype;
  p.biased = static_cast<bool>(bias);
  p.relu = g.act == Activation::relu;
  p.accumulate = g.accumulate;
  p.tf32 = a.dtype == DType::f32 && tf32_allowed();
  // an absent bias is aligned to everything
  p.alignment = alignment_of({a.data, b.data, c.data, bias.data});

  const ProductMemory at{a.data, b.data, c.data, bias.data};
  const auto done = [&](bool with_epilogue) {
    if (bias && !with_epilogue) binary({.op = BinaryOp::add, .a = c, .b = as_rows(bias, c), .y = c});
    activate(with_epilogue && g.act == Activation::relu ? Activation::none : g.act, c);
    return true;
  };
  if (multiply(p, at)) return done(true);
  if (!p.biased && !p.relu) return false;
  p.biased = p.relu = false;  // not for these types or layouts
  p.bias = c.dtype;
  return multiply(p, at) && done(false);
}

}  // namespace

void gemm(const Gemm& g) {
  check_gemm(g);
  if (g.c.numel() != 0 && g.a.dim(-1) != 0 && thin_gemm(g)) return;
  if (g.sums) reduce(gemm_sums(g));  // one more pass over a
  if (g.c.numel() == 0) return;
  if (g.a.dim(-1) == 0) {  // nothing to add up: act(bias)
    check(!g.accumulate || !g.bias, "gemm", "a bias with k = 0 cannot be accumulated");
    if (!g.accumulate) copy({.x = g.bias ? as_rows(g.bias, g.c) : View(), .y = g.c});
    activate(g.act, g.c);
    return;
  }
  if (multiplied(g)) return;
  const auto refused = [&] {
    return fmt::format("cuBLASLt has no algorithm for {} {} · {} -> {}, strides {}, {}, {}", name_of(g.a.dtype),
                       g.a.shape.str(), g.b.shape.str(), name_of(g.c.dtype), g.a.strides.str(), g.b.strides.str(),
                       g.c.strides.str());
  };
  check(g.a.dtype == DType::bf16, "gemm", "{}; SPN_LOG=debug says what it refused", refused());
  static bool said = false;
  if (!std::exchange(said, true)) log::warn("gemm: {}; such products go through f32", refused());
  Wide f({&g.a, &g.b, &g.c, &g.bias});
  Gemm wide = g;
  wide.a = f.in(g.a), wide.b = f.in(g.b), wide.bias = f.in(g.bias);
  wide.c = g.accumulate ? f.in(g.c) : f.out(g.c);
  check(multiplied(wide), "gemm", "{}, nor for f32; SPN_LOG=debug says what it refused", refused());
  Wide::round(wide.c, g.c);
}

}  // namespace spn::kernels::cuda
