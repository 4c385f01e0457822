// The same loss from plain ops with all B × B logits: what the streamed one is tested against.
#include <limits>

#include "engine/ops/collective.h"
#include "engine/ops/contrastive.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"

namespace spn::ops {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

// [B,B]: 0 where the pair counts (or is the positive), −inf where the rule leaves it out.
Tensor mask_of(const PairFacts& f, std::int64_t b, DType dtype) {
  std::vector<double> mask(static_cast<std::size_t>(b * b), 0.0);
  if (f.kind != kernels::Negatives::all) {
    const auto slide = f.all_slide.to_vector<std::int32_t>();
    const bool by_radius = f.kind == kernels::Negatives::exclude_radius;
    const auto xy = by_radius ? f.all_xy.to_vector<float>() : std::vector<float>();
    const auto cluster = by_radius ? std::vector<std::int32_t>() : f.all_cluster.to_vector<std::int32_t>();
    for (std::size_t i = 0; i < slide.size(); ++i)
      for (std::size_t j = 0; j < slide.size(); ++j) {
        if (i == j || slide[i] != slide[j]) continue;
        bool out = false;
        if (by_radius) {
          const float dx = xy[2 * i] - xy[2 * j], dy = xy[2 * i + 1] - xy[2 * j + 1];
          out = dx * dx + dy * dy < static_cast<float>(f.radius_um * f.radius_um);
        } else {
          out = cluster[i] >= 0 && cluster[i] == cluster[j];
        }
        if (out) mask[i * slide.size() + j] = kNone;
      }
  }
  return Tensor::from(mask, {b, b}).to(dtype);
}

// Share of rows and columns whose positive is alone at the top.
double accuracy_of(const Tensor& logits) {
  const auto s = logits.to_vector<double>();
  const auto b = static_cast<std::size_t>(logits.dim(0));
  double hits = 0;
  for (std::size_t i = 0; i < b; ++i) {
    bool row = true, col = true;
    for (std::size_t j = 0; j < b; ++j) {
      if (j == i) continue;
      row = row && s[i * b + i] > s[i * b + j];
      col = col && s[i * b + i] > s[j * b + i];
    }
    hits += (row ? 0.5 : 0) + (col ? 0.5 : 0);
  }
  return hits / static_cast<double>(b);
}

}  // namespace

ContrastiveResult contrastive_dense(const Var& x, const Var& y, const Var& scale, const PairFacts& facts,
                                    dist::Comm& comm) {
  const std::int64_t n = x.dim(0), b = n * comm.size();
  const Var all_x = all_gather(x, comm), all_y = all_gather(y, comm);
  const Var logits = add(mul(matmul(all_x, transpose(all_y, 0, 1)), scale), Var(mask_of(facts, b, x.dtype())));
  std::vector<std::int64_t> own(static_cast<std::size_t>(b));
  for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<std::int64_t>(i);
  const Tensor target = Tensor::from(own, {b});
  const Var rows = cross_entropy(logits, target), cols = cross_entropy(contiguous(transpose(logits, 0, 1)), target);
  const Var mine = narrow(add(rows, cols), 0, n * comm.rank(), n);
  const Var loss = affine(sum(mine), 1.0 / (2.0 * static_cast<double>(b)));
  Tensor total = loss.value().to(DType::f64).clone();
  comm.all_reduce(total);
  return {loss, total, Tensor::full({}, accuracy_of(logits.value()), DType::f64)};
}

}  // namespace spn::ops
