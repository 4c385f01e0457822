#include "kernels/work.h"

namespace spn::kernels {
namespace {

double count(const View& v) { return static_cast<double>(v.numel()); }
double bytes(const View& v) { return static_cast<double>(v.bytes()); }

double convolution(const View& w, const View& y) { return 2 * count(y) * count(w) / static_cast<double>(w.dim(0)); }
double attention(const View& q, const View& k, int products) {
  return products * 2 * count(q) * static_cast<double>(k.dim(-2));
}

}  // namespace

double flops_of(const Gemm& a) { return 2 * count(a.c) * static_cast<double>(a.a.dim(-1)); }
double flops_of(const ConvFwd& a) { return convolution(a.w, a.y); }
double flops_of(const ConvBwd& a) { return convolution(a.w, a.dy) * ((a.dx ? 1 : 0) + (a.dw ? 1 : 0)); }
double flops_of(const AttentionFwd& a) { return attention(a.q, a.k, 2); }
double flops_of(const AttentionBwd& a) {
  const int through = a.dq || a.dk ? 1 : 0;  // the gradient of the weights
  return attention(a.q, a.k, 1 + through + (a.dq ? 1 : 0) + (a.dk ? 1 : 0) + (a.dv ? 1 : 0));
}
double flops_of(const ContrastiveFwd& a) { return 2 * count(a.x) * static_cast<double>(a.y.dim(0)); }
double flops_of(const ContrastiveBwd& a) {
  return 2 * count(a.x) * static_cast<double>(a.y.dim(0)) * (1 + (a.dx ? 1 : 0) + (a.dy ? 1 : 0));
}

double bytes_of_views(std::span<const View* const> views) {
  double sum = 0;
  for (const View* v : views) {
    if (v == nullptr || !*v) continue;
    double distinct = static_cast<double>(size_of(v->dtype));
    for (int d = 0; d < v->ndim(); ++d)
      distinct *= v->strides[d] == 0 && v->dim(d) > 0 ? 1.0 : static_cast<double>(v->dim(d));
    sum += distinct;
  }
  return sum;
}

double bytes_of(const ConvBwd& a) {
  const double data = a.dx ? bytes(a.dy) + bytes(a.w) + bytes(a.dx) * (a.accumulate_dx ? 2 : 1) : 0;
  const double filters = a.dw ? bytes(a.dy) + bytes(a.x) + bytes(a.dw) : 0;
  return data + filters + (a.db ? bytes(a.db) + (a.dw ? 0 : bytes(a.dy)) : 0);
}
double bytes_of(const AttentionBwd& a) {
  const View* const views[] = {&a.q, &a.k, &a.v, &a.lse, &a.d_o, &a.dq, &a.dk, &a.dv};
  return bytes_of_views(views);
}
double bytes_of(const GatherRows& a) { return bytes(a.index) + 2 * bytes(a.y); }
double bytes_of(const ScatterAddRows& a) { return bytes(a.index) + bytes(a.x) + bytes(a.y); }
double bytes_of(const AdamW& a) {
  double sum = 0;
  for (const AdamWParam& p : a.params) sum += 7 * bytes(p.w) + (p.copy ? bytes(p.copy) : 0);  // w, m, v both ways; grad
  return sum;
}
double bytes_of(const Sgd& a) {
  double sum = 0;
  for (const SgdParam& p : a.params) sum += 5 * bytes(p.w);
  return sum;
}
double bytes_of(const Lerp& a) {
  double sum = 0;
  for (const LerpPair& p : a.pairs) sum += 2 * bytes(p.y) + bytes(p.x);
  return sum;
}
double bytes_of(const SumOfSquares& a) {
  double sum = 0;
  for (const View& v : a.x) sum += bytes(v);
  return sum;
}

}  // namespace spn::kernels
