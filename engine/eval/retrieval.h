// Retrieval: is a row's true partner among the k nearest by cosine? Recall@k.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace spn::eval {

inline constexpr std::array<int, 3> kRecallAt = {1, 5, 10};

struct Recall {
  std::int64_t queries = 0;
  std::array<double, 3> forward{};   // x finds y: share of queries with the partner in the top k
  std::array<double, 3> backward{};  // y finds x
  std::array<double, 3> chance{};    // min(1, k / gallery)
};

// x, y [n,d] row-major unit rows; partner of row i is row i; the gallery is all n rows. Ties count against: a partner
// is in the top k when fewer than k others are at least as similar, so collapsed embeddings score 0 and not 1.
Recall recall(const float* x, const float* y, std::int64_t n, std::int64_t d);

// Mean over groups, weighted by queries.
Recall pooled(const std::vector<Recall>& groups);

}  // namespace spn::eval
