#include "engine/eval/retrieval.h"

#include <algorithm>

#include "engine/core/view.h"
#include "kernels/table.h"

namespace spn::eval {
namespace {

constexpr std::int64_t kTile = 512;  // rows of similarities held at once

// Share of rows i of a whose partner b[i] is in the top k.
std::array<double, 3> one_way(const float* a, const float* b, std::int64_t n, std::int64_t d) {
  std::array<std::int64_t, 3> hits{};
  std::vector<float> s(static_cast<std::size_t>(std::min(kTile, n) * n));
  for (std::int64_t first = 0; first < n; first += kTile) {
    const std::int64_t rows = std::min(kTile, n - first);
    View bt = host_view(b, {d, n});
    bt.strides = {1, d};
    kernels::run<&kernels::Table::gemm>(
        {.a = host_view(a + first * d, {rows, d}), .b = bt, .c = host_view(s.data(), {rows, n})});
    for (std::int64_t i = 0; i < rows; ++i) {
      const float* row = s.data() + i * n;
      const float own = row[first + i];
      std::int64_t better = -1;  // the partner itself is at least as similar as itself
      for (std::int64_t j = 0; j < n; ++j) better += row[j] >= own ? 1 : 0;
      if (!(own == own)) continue;  // NaN finds nothing
      for (std::size_t k = 0; k < kRecallAt.size(); ++k) hits[k] += better < kRecallAt[k] ? 1 : 0;
    }
  }
  std::array<double, 3> share{};
  for (std::size_t k = 0; k < share.size(); ++k) share[k] = static_cast<double>(hits[k]) / static_cast<double>(n);
  return share;
}

}  // namespace

Recall recall(const float* x, const float* y, std::int64_t n, std::int64_t d) {
  Recall r;
  r.queries = n;
  if (n == 0) return r;
  r.forward = one_way(x, y, n, d);
  r.backward = one_way(y, x, n, d);
  for (std::size_t k = 0; k < r.chance.size(); ++k) r.chance[k] = std::min(1.0, kRecallAt[k] / static_cast<double>(n));
  return r;
}

Recall pooled(const std::vector<Recall>& groups) {
  Recall all;
  for (const Recall& g : groups) all.queries += g.queries;
  for (const Recall& g : groups) {
    const double w = all.queries == 0 ? 0 : static_cast<double>(g.queries) / static_cast<double>(all.queries);
    for (std::size_t k = 0; k < 3; ++k) {
      all.forward[k] += w * g.forward[k];
      all.backward[k] += w * g.backward[k];
      all.chance[k] += w * g.chance[k];
    }
  }
  return all;
}

}  // namespace spn::eval
