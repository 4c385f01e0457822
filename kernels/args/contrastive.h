// Symmetric InfoNCE streamed in tiles: logits exist only inside a tile, so memory is O(rows + columns), never their
// product. Rows are this rank's queries, columns the keys of the whole group.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/view.h"

namespace spn::kernels {

enum class Negatives : std::uint8_t { all, exclude_radius, other_cluster };

// Which pairs (i, j ≠ i) are negatives of each other; the rules are symmetric in i and j. Only pairs of one slide can
// be excluded. `all` reads none of the views.
struct NegativeRule {
  Negatives kind = Negatives::all;
  double radius_um = 0;
  View row_slide, col_slide;      // i32 [rows], [cols]
  View row_xy, col_xy;            // f32 [rows,2], [cols,2] in µm
  View row_cluster, col_cluster;  // i32, -1 unknown (an unknown cluster differs from every other)
};

// S = scale · x yᵀ over the columns that count. The positive of row i is column first_row + i.
// row_lse[i] = logsumexp_j S[i,j]; col_max[j], col_sum[j] = max and Σ exp(S − max) over this rank's rows (to be merged
// over ranks); positive[i] = S[i, first_row + i]; row_above[i], col_above[j]: the largest S of the row / of this rank's
// rows in the column that is not a positive (−inf if none), for the top-1 accuracy.
struct ContrastiveFwd {
  View x, y;   // [rows,d], [cols,d], contiguous
  View scale;  // [1]: 1/τ
  std::int64_t first_row = 0;
  NegativeRule rule;
  View row_lse, positive, row_above, col_max, col_sum, col_above;
  auto views() const {
    return std::array{&x, &y, &scale, &row_lse, &positive, &row_above, &col_max, &col_sum, &col_above};
  }
};

// G[i,j] = weight · (exp(S[i,j] − row_lse[i]) + exp(S[i,j] − col_lse[j]) − 2·[j is i's positive]), recomputed a tile at
// a time. dx = scale · G y; dy = scale · Gᵀ x (of this rank's rows: to be summed over ranks); dscale [1] f64 = Σ G · (x
// yᵀ) of this rank's rows.
struct ContrastiveBwd {
  View x, y, scale, row_lse, col_lse;
  View weight;  // [1]: dL/dℓ · 1/(2B)
  std::int64_t first_row = 0;
  NegativeRule rule;
  View dx, dy, dscale;
  auto views() const { return std::array{&x, &y, &scale, &row_lse, &col_lse, &weight, &dx, &dy, &dscale}; }
};

}  // namespace spn::kernels
