// Which rows form step k: one seeded permutation of all rows an epoch, independent of the number of ranks. Rank and
// size are arguments, so that N ranks are tested in one process. The remainder of an epoch that fills no global batch
// is dropped (and counted by dropped_per_epoch).
#pragma once

#include <cstdint>
#include <vector>

namespace spn::data {

class Sampler {
 public:
  // Usage error when rows < global_batch.
  Sampler(std::int64_t rows, std::int64_t global_batch, std::uint64_t seed);

  std::int64_t steps_per_epoch() const { return rows_ / global_batch_; }
  std::int64_t dropped_per_epoch() const { return rows_ % global_batch_; }
  std::int64_t epoch_of(std::int64_t step) const { return step / steps_per_epoch(); }
  // The global batch of `step` (0-based), in order.
  std::vector<std::int64_t> global_rows(std::int64_t step) const;
  // This rank's contiguous part of it: batch positions [rank · b, (rank + 1) · b), b = global_batch / size.
  std::vector<std::int64_t> rank_rows(std::int64_t step, int rank, int size) const;

 private:
  std::int64_t rows_, global_batch_;
  std::uint64_t seed_;
  mutable std::int64_t cached_epoch_ = -1;
  mutable std::vector<std::int64_t> order_;
};

}  // namespace spn::data
