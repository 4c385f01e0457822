// The streamed InfoNCE as an op: gathers the keys, runs the kernels, merges the column statistics over ranks.
#include "engine/ops/contrastive.h"

#include "engine/ops/check_dims.h"
#include "kernels/table.h"

namespace spn::ops {

using kernels::BinaryOp;
using kernels::run;
using kernels::Table;
using kernels::UnaryOp;

namespace {

Tensor combined(BinaryOp op, const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(a.shape(), a.dtype(), a.device());
  run<&Table::binary>({.op = op, .a = a, .b = b, .y = y});
  return y;
}

Tensor mapped(UnaryOp op, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  run<&Table::unary_fwd>({.op = op, .x = x, .y = y});
  return y;
}

// 1 where x > 0, else 0: the derivative of relu.
Tensor is_positive(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor one = Tensor::full(x.shape(), 1, x.dtype(), x.device());
  run<&Table::unary_bwd>({.op = UnaryOp::relu, .x = x, .y = x, .dy = one, .dx = y});
  return y;
}

// out[0] = Σ x of [n].
void sum_into(const Tensor& x, const Tensor& out) {
  run<&Table::reduce>({.kind = kernels::ReduceKind::sum, .x = x, .y = out});
}

void check_facts(const PairFacts& f, std::int64_t rows, std::int64_t cols) {
  if (f.kind == kernels::Negatives::all) return;
  const auto one = [&](const char* what, const Tensor& t, DType dtype, Shape want) {
    check(t && t.dtype() == dtype && t.shape() == want && t.is_contiguous(), "contrastive",
          "expected {} as contiguous {} {} for this negative rule, got {}; gather_facts fills the all_ ones", what,
          name_of(dtype), want.str(), t ? t.shape().str() : "nothing");
  };
  one("slide", f.slide, DType::i32, {rows});
  one("all_slide", f.all_slide, DType::i32, {cols});
  if (f.kind == kernels::Negatives::exclude_radius) {
    check(f.radius_um >= 0, "contrastive", "expected a radius of at least 0 µm, got {}", f.radius_um);
    one("xy", f.xy, DType::f32, {rows, 2});
    one("all_xy", f.all_xy, DType::f32, {cols, 2});
  } else {
    one("cluster", f.cluster, DType::i32, {rows});
    one("all_cluster", f.all_cluster, DType::i32, {cols});
  }
}

kernels::NegativeRule rule_of(const PairFacts& f) {
  return {.kind = f.kind,
          .radius_um = f.radius_um,
          .row_slide = f.slide,
          .col_slide = f.all_slide,
          .row_xy = f.xy,
          .col_xy = f.all_xy,
          .row_cluster = f.cluster,
          .col_cluster = f.all_cluster};
}

// columns [2, cols]: logsumexp and largest non-positive over this rank's rows -> over all ranks'.
void merge_columns(const Tensor& columns, dist::Comm& comm) {
  if (comm.size() == 1) return;
  const Tensor most = columns.clone();
  comm.all_reduce(most, dist::ReduceOp::max);
  const Tensor lse = columns.select(0, 0), largest = most.select(0, 0);  // finite: every column has its positive
  const Tensor sum = mapped(UnaryOp::exp, combined(BinaryOp::sub, lse, largest));
  comm.all_reduce(sum);
  lse.copy_from(combined(BinaryOp::add, largest, mapped(UnaryOp::log, sum)));
  columns.select(0, 1).copy_from(most.select(0, 1));
}

}  // namespace

void gather_facts(PairFacts& f, dist::Comm& comm) {
  if (f.kind == kernels::Negatives::all) return;
  const auto gathered = [&](const Tensor& t) {
    if (!t || comm.size() == 1) return t;
    Shape whole = t.shape();
    whole[0] *= comm.size();
    Tensor all = Tensor::empty(whole, t.dtype(), t.device());
    comm.all_gather(t, all);
    return all;
  };
  f.all_slide = gathered(f.slide);
  f.all_xy = gathered(f.xy);
  f.all_cluster = gathered(f.cluster);
}

ContrastiveResult contrastive(const Var& x, const Var& y, const Var& scale, const PairFacts& facts, dist::Comm& comm,
                              DType products) {
  check(x && x.ndim() == 2 && x.dim(0) > 0 && x.dim(1) > 0, "contrastive", "expected x of shape [n, d], got {}",
        x ? x.shape().str() : "nothing");
  check_dims("contrastive", "y", y, {x.dim(0), x.dim(1)});
  check_dims("contrastive", "scale", scale, {1});
  check_same_dtype("contrastive", x, y);
  check_same_dtype("contrastive", x, scale);
  check(x.dtype() == DType::f32 || x.dtype() == DType::f64, "contrastive", "expected f32 or f64, got {}; cast first",
        name_of(x.dtype()));
  const std::int64_t n = x.dim(0), first = n * comm.rank(), cols = n * comm.size();
  check_facts(facts, n, cols);
  const Device device = x.value().device();
  const Tensor queries = x.value().contiguous(), own = y.value().contiguous();
  Tensor keys = own;
  if (comm.size() > 1) {
    keys = Tensor::empty({cols, x.dim(1)}, x.dtype(), device);
    comm.all_gather(own, keys);
  }

  const auto doubles = [&](const Shape& s) { return Tensor::empty(s, DType::f64, device); };
  const Tensor row_lse = doubles({n}), positive = doubles({n}), row_above = doubles({n}), columns = doubles({2, cols});
  run<&Table::contrastive_fwd>({.x = queries,
                                .y = keys,
                                .scale = scale,
                                .first_row = first,
                                .rule = rule_of(facts),
                                .products = products,
                                .row_lse = row_lse,
                                .positive = positive,
                                .row_above = row_above,
                                .col_lse = columns.select(0, 0),
                                .col_above = columns.select(0, 1)});
  merge_columns(columns, comm);
  const Tensor col_lse = columns.select(0, 0), my_lse = col_lse.narrow(0, first, n),
               my_above = columns.select(0, 1).narrow(0, first, n);

  // This rank's shares of loss and accuracy, then their sums over ranks.
  const double each = 1.0 / (2.0 * static_cast<double>(cols));
  const Tensor shares = doubles({2});
  sum_into(
      combined(BinaryOp::add, combined(BinaryOp::sub, row_lse, positive), combined(BinaryOp::sub, my_lse, positive)),
      shares.narrow(0, 0, 1));
  sum_into(combined(BinaryOp::add, is_positive(combined(BinaryOp::sub, positive, row_above)),
                    is_positive(combined(BinaryOp::sub, positive, my_above))),
           shares.narrow(0, 1, 1));
  run<&Table::affine>({.mul = each, .x = shares, .y = shares});
  const Tensor mine = shares.select(0, 0).to(x.dtype()).clone();
  if (comm.size() > 1) comm.all_reduce(shares);

  const Var loss = record("contrastive", mine, {x, y, scale},
                          [queries, keys, scale = scale.value(), row_lse, col_lse, facts, first, each, n, products,
                           &comm](const Tensor& dy, Grads& g) {
                            const Tensor dkeys = g.wants(1) ? Tensor::empty_like(keys) : Tensor();
                            const Tensor dscale = g.wants(2) ? Tensor::empty({1}, DType::f64, keys.device()) : Tensor();
                            run<&Table::contrastive_bwd>({.x = queries,
                                                          .y = keys,
                                                          .scale = scale,
                                                          .row_lse = row_lse,
                                                          .col_lse = col_lse,
                                                          .dloss = dy,
                                                          .mul = each,
                                                          .first_row = first,
                                                          .rule = rule_of(facts),
                                                          .products = products,
                                                          .dx = g.contiguous(0),
                                                          .dy = dkeys,
                                                          .dscale = dscale});
                            if (dscale) g.set(2, dscale.to(keys.dtype()));
                            if (!dkeys) return;
                            if (comm.size() == 1) return g.set(1, dkeys);
                            const Tensor down = Tensor::empty({n, keys.dim(1)}, keys.dtype(), keys.device());
                            comm.reduce_scatter(dkeys, down);
                            g.set(1, down);
                          });
  return {loss, shares.select(0, 0), shares.select(0, 1)};
}

}  // namespace spn::ops
