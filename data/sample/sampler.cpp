#include "data/sample/sampler.h"

#include <numeric>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/philox.h"

namespace spn::data {

Sampler::Sampler(std::int64_t rows, std::int64_t global_batch, std::uint64_t seed)
    : rows_(rows), global_batch_(global_batch), seed_(seed) {
  if (global_batch <= 0) fail_usage("sampler", "expected a global batch of at least 1, got {}", global_batch);
  if (rows < global_batch)
    fail_usage("sampler",
               "expected at least one global batch of rows, got {} rows and a global batch of {}; give a smaller "
               "--global-batch or more slides",
               rows, global_batch);
}

std::vector<std::int64_t> Sampler::global_rows(std::int64_t step) const {
  check(step >= 0, "sampler", "expected a step of at least 0, got {}", step);
  const std::int64_t epoch = epoch_of(step);
  if (epoch != cached_epoch_) {
    // Fisher-Yates from the end; every epoch is a stream of its own, so that any step is reached without the ones
    // before
    order_.resize(static_cast<std::size_t>(rows_));
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
    PhiloxStream random(seed_, RandomUse::shuffle, static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order_.size() - 1; i > 0; --i)
      std::swap(order_[i], order_[static_cast<std::size_t>(random.below(i + 1))]);
    cached_epoch_ = epoch;
  }
  const auto begin = order_.begin() + (step % steps_per_epoch()) * global_batch_;
  return {begin, begin + global_batch_};
}

std::vector<std::int64_t> Sampler::rank_rows(std::int64_t step, int rank, int size) const {
  check(size > 0 && rank >= 0 && rank < size, "sampler", "expected a rank within [0, {}), got {}", size, rank);
  if (global_batch_ % size != 0)
    fail_usage("sampler", "expected a global batch that {} ranks share evenly, got {}; give a multiple of {}", size,
               global_batch_, size);
  const std::int64_t mine = global_batch_ / size;
  const auto all = global_rows(step);
  return {all.begin() + rank * mine, all.begin() + (rank + 1) * mine};
}

}  // namespace spn::data
