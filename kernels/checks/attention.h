// What attention asks of its arguments, the same on every device.
#pragma once

#include <initializer_list>

#include "kernels/args/attention.h"

namespace spn::kernels {

namespace attention_checks {

inline void sides(const View& q, const View& k, const View& v, const View& o, const View& lse, double scale) {
  check(q.ndim() == 4 && k.ndim() == 4 && k.shape == v.shape && q.shape == o.shape, "attention",
        "expected q, o [B,H,Tq,Dh] and k, v [B,H,Tk,Dh], got {}, {}, {} and {}", q.shape.str(), o.shape.str(),
        k.shape.str(), v.shape.str());
  check(q.dim(0) == k.dim(0) && q.dim(1) == k.dim(1) && q.dim(3) == k.dim(3), "attention",
        "expected q and k of the same samples, heads and width, got {} and {}", q.shape.str(), k.shape.str());
  check(k.dim(2) > 0 || q.numel() == 0, "attention", "expected at least one key, got k {}", k.shape.str());
  check(lse.shape == Shape{q.dim(0), q.dim(1), q.dim(2)} && lse.is_contiguous(), "attention",
        "expected a contiguous lse [{},{},{}], got {}", q.dim(0), q.dim(1), q.dim(2), lse.shape.str());
  check(scale > 0, "attention", "expected a scale above 0, got {}", scale);
}
inline void rows(std::initializer_list<const View*> views) {
  for (const View* v : views)
    check(!*v || v->dim(3) <= 1 || v->strides[3] == 1, "attention", "expected unit stride in Dh, got strides {}",
          v->strides.str());
}
// The gradient of `of`, or absent.
inline void gradient(const View& d, const View& of) {
  check(!d || d.shape == of.shape, "attention", "expected a gradient {}, got {}", of.shape.str(), d.shape.str());
}

}  // namespace attention_checks

inline void check_attention(const AttentionFwd& a) {
  attention_checks::sides(a.q, a.k, a.v, a.o, a.lse, a.scale);
  attention_checks::rows({&a.q, &a.k, &a.v, &a.o});
}
inline void check_attention(const AttentionBwd& a) {
  attention_checks::sides(a.q, a.k, a.v, a.o, a.lse, a.scale);
  check(a.d_o || a.q.numel() == 0, "attention", "expected the gradient of o");
  attention_checks::gradient(a.d_o, a.o);
  attention_checks::gradient(a.dq, a.q);
  attention_checks::gradient(a.dk, a.k);
  attention_checks::gradient(a.dv, a.v);
  attention_checks::rows({&a.q, &a.k, &a.v, &a.o, &a.d_o, &a.dq, &a.dk, &a.dv});
}

}  // namespace spn::kernels
