// Symmetric InfoNCE streamed in tiles: logits exist only inside a tile, so memory is O(rows + columns), never their
// product. Rows are this rank's queries, columns the keys of the whole group.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

enum class Negatives : std::uint8_t { all, exclude_radius, other_cluster };

// Which pairs (i, j ≠ i) are negatives of each other; the rules are symmetric in i and j. Only pairs of one slide can
// be excluded: those closer than the radius, or of one known cluster. `all` reads none of the views. Contiguous.
struct NegativeRule {
  Negatives kind = Negatives::all;
  double radius_um = 0;
  View row_slide, col_slide;      // i32 [rows], [cols]
  View row_xy, col_xy;            // f32 [rows,2], [cols,2] in µm
  View row_cluster, col_cluster;  // i32, -1 unknown (an unknown cluster differs from every other)
};

// S = scale · x yᵀ over the pairs that count; −inf elsewhere. The positive of row i is column first_row + i.
// row_lse[i] = logsumexp_j S[i,j]; positive[i] = S[i, first_row + i]; row_above[i]: the largest S of the row that is
// not a positive; col_lse[j], col_above[j]: the same over this rank's rows of column j, to be merged over ranks (−inf
// where nothing counts). Statistics are f64.
//
// products, for x and y in f32: bf16 allows a device to round x, y and G to bf16 before they are multiplied (sums,
// logits, statistics and results stay f32 or better). The CPU multiplies in f32 either way.
struct ContrastiveFwd {
  View x, y;   // [rows,d], [cols,d], contiguous, f32 or f64
  View scale;  // [1] of x's dtype: 1/τ
  std::int64_t first_row = 0;
  NegativeRule rule;
  DType products = DType::f32;
  View row_lse, positive, row_above, col_lse, col_above;
  auto views() const { return std::array{&x, &y, &scale, &row_lse, &positive, &row_above, &col_lse, &col_above}; }
};

// G[i,j] = exp(S[i,j] − row_lse[i]) + exp(S[i,j] − col_lse[j]) − 2·[j is i's positive], recomputed a tile at a time;
// col_lse is over all ranks' rows. w = mul · dloss. dx = w · scale · G y; dy = w · scale · Gᵀ x (of this rank's rows:
// to be summed over ranks); dscale [1] f64 = w · Σ G · (x yᵀ) of this rank's rows. Any output may be absent.
struct ContrastiveBwd {
  View x, y, scale;
  View row_lse, col_lse;  // f64
  View dloss;             // one element of x's dtype
  double mul = 1;
  std::int64_t first_row = 0;
  NegativeRule rule;
  DType products = DType::f32;
  View dx, dy, dscale;
  auto views() const { return std::array{&x, &y, &scale, &row_lse, &col_lse, &dloss, &dx, &dy, &dscale}; }
};

}  // namespace spn::kernels
