// What optimiser kernels ask of their arguments, the same on every device.
#pragma once

#include "kernels/args/optim.h"

namespace spn::kernels {

namespace detail {
// What belongs to parameter w: same shape and dtype, no gaps.
inline void check_like(const char* op, const char* what, const View& v, const View& w) {
  check(v.shape == w.shape && v.dtype == w.dtype && v.is_contiguous(), op, "{}: expected contiguous {} {}, got {} {}{}",
        what, name_of(w.dtype), w.shape.str(), name_of(v.dtype), v.shape.str(), v.is_contiguous() ? "" : " with gaps");
}
inline void check_floats(const char* op, const View& w) {
  check(w.dtype == DType::f32 || w.dtype == DType::f64, op, "expected f32 or f64 parameters, got {}", name_of(w.dtype));
  check_like(op, "w", w, w);
}
inline void check_rates(const char* op, const UpdateRates& u) {
  const auto f64s = [](const View& v, std::int64_t n) { return v && v.dtype == DType::f64 && v.numel() == n; };
  check(f64s(u.rates, 2) && f64s(u.updates, 1) && f64s(u.squares, 1), op,
        "expected rates [2], updates [1] and squares [1] in f64, got {}, {} and {}", u.rates.shape.str(),
        u.updates.shape.str(), u.squares.shape.str());
}
}  // namespace detail

inline void check_update(const AdamW& a) {
  for (const AdamWParam& p : a.params) {
    detail::check_floats("adamw", p.w);
    detail::check_like("adamw", "grad", p.grad, p.w);
    detail::check_like("adamw", "m", p.m, p.w);
    detail::check_like("adamw", "v", p.v, p.w);
    if (!p.copy) continue;
    check(p.w.dtype == DType::f32 && p.copy.dtype == DType::bf16 && p.copy.shape == p.w.shape &&
              p.copy.is_contiguous() && p.copy.device == p.w.device,
          "adamw", "copy: expected contiguous bf16 {} beside f32, got {} {} beside {}", p.w.shape.str(),
          name_of(p.copy.dtype), p.copy.shape.str(), name_of(p.w.dtype));
  }
  detail::check_rates("adamw", a.update);
}
inline void check_update(const Sgd& a) {
  for (const SgdParam& p : a.params) {
    detail::check_floats("sgd", p.w);
    detail::check_like("sgd", "grad", p.grad, p.w);
    detail::check_like("sgd", "momentum", p.momentum, p.w);
  }
  detail::check_rates("sgd", a.update);
}
inline void check_update(const Lerp& a) {
  check(a.weight >= 0 && a.weight <= 1, "lerp", "expected a weight in [0, 1], got {}", a.weight);
  check(!a.squares || (a.squares.dtype == DType::f64 && a.squares.numel() == 1), "lerp",
        "squares: expected [1] in f64, got {}", a.squares.shape.str());
  for (const LerpPair& p : a.pairs) {
    detail::check_floats("lerp", p.y);
    detail::check_like("lerp", "x", p.x, p.y);
  }
}
inline void check_squares(const SumOfSquares& a) {
  check(a.out.dtype == DType::f64 && a.out.numel() == 1, "sum_of_squares", "out: expected [1] f64, got {} {}",
        a.out.shape.str(), name_of(a.out.dtype));
  for (const View& x : a.x) {
    check(is_floating(x.dtype), "sum_of_squares", "expected floating tensors, got {}", name_of(x.dtype));
    check(x.is_contiguous() || x.is_channels_last(), "sum_of_squares", "expected tensors without gaps, got {}",
          x.shape.str());
  }
}

}  // namespace spn::kernels
