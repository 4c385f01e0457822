// Views with gradients, and the copies that join or straighten them.
#include "engine/ops/shape.h"

#include "engine/ops/broadcast.h"
#include "engine/ops/check_dims.h"

namespace spn::ops {

Var reshape(const Var& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape), {x},
                [from = x.shape()](const Tensor& dy, Grads& g) { g.set(0, dy.reshape(from)); });
}

Var transpose(const Var& x, int a, int b) {
  return record("transpose", x.value().transpose(a, b), {x},
                [a, b](const Tensor& dy, Grads& g) { g.set(0, dy.transpose(a, b)); });
}

Var permute(const Var& x, std::initializer_list<int> order) {
  const int n = x.ndim();
  Shape seen;
  for (int i = 0; i < n; ++i) seen.push_back(0);
  for (int d : order) {
    check(d >= 0 && d < n && seen[d] == 0, "permute", "expected each dim of {} once, got dim {} {}", x.shape().str(), d,
          d >= 0 && d < n ? "twice" : "which is not there");
    seen[d] = 1;
  }
  const std::vector<int> to(order);
  return record("permute", x.value().permute(order), {x}, [to](const Tensor& dy, Grads& g) {
    // The inverse by swaps: dim i of dy is dim to[i] of x.
    Tensor back = dy;
    std::vector<int> at = to;
    for (int i = 0; i < static_cast<int>(at.size()); ++i) {
      while (at[static_cast<std::size_t>(i)] != i) {
        const int j = at[static_cast<std::size_t>(i)];
        back = back.transpose(i, j);
        std::swap(at[static_cast<std::size_t>(i)], at[static_cast<std::size_t>(j)]);
      }
    }
    g.set(0, back);
  });
}

Var narrow(const Var& x, int dim, std::int64_t start, std::int64_t length) {
  return record("narrow", x.value().narrow(dim, start, length), {x},
                [like = x.value(), dim, start, length](const Tensor& dy, Grads& g) {
                  const Tensor dx = Tensor::zeros_like(like);
                  dx.narrow(dim, start, length).copy_from(dy);
                  g.set(0, dx);
                });
}

Var select(const Var& x, int dim, std::int64_t index) {
  return record("select", x.value().select(dim, index), {x},
                [like = x.value(), dim, index](const Tensor& dy, Grads& g) {
                  const Tensor dx = Tensor::zeros_like(like);
                  dx.select(dim, index).copy_from(dy);
                  g.set(0, dx);
                });
}

Var expand(const Var& x, const Shape& shape) {
  return record("expand", x.value().expand(shape), {x},
                [from = x.shape()](const Tensor& dy, Grads& g) { g.set(0, sum_to(dy, from)); });
}

Var concat(const std::vector<Var>& parts, int dim) {
  check(!parts.empty(), "concat", "expected at least one part, got none");
  const Var& first = parts[0];
  const int d = dim < 0 ? dim + first.ndim() : dim;
  check(d >= 0 && d < first.ndim(), "concat", "dim {} is outside {}", dim, first.shape().str());
  Shape shape = first.shape();
  shape[d] = 0;
  for (const Var& p : parts) {
    check_same_dtype("concat", first, p);
    Shape rest = p.shape();
    check(rest.ndim() == shape.ndim(), "concat", "expected parts of {} dims, got {}", shape.ndim(), rest.str());
    rest[d] = first.dim(d);
    check(rest == first.shape(), "concat", "expected parts equal to {} outside dim {}, got {}", first.shape().str(), d,
          p.shape().str());
    shape[d] += p.dim(d);
  }
  const Tensor y = Tensor::empty(shape, first.dtype(), first.value().device());
  std::vector<std::int64_t> lengths;
  std::int64_t at = 0;
  for (const Var& p : parts) {
    y.narrow(d, at, p.dim(d)).copy_from(p.value());
    lengths.push_back(p.dim(d));
    at += p.dim(d);
  }
  return record("concat", y, parts, [lengths, d](const Tensor& dy, Grads& g) {
    std::int64_t from = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      g.set(i, dy.narrow(d, from, lengths[i]));
      from += lengths[i];
    }
  });
}

Var contiguous(const Var& x) {
  if (x.value().is_contiguous()) return x;
  return record("contiguous", x.value().contiguous(), {x}, [](const Tensor& dy, Grads& g) { g.set(0, dy); });
}

}  // namespace spn::ops
