// --residency host | gpu: the packs' rows in memory instead of on disk, read once at the start.
#pragma once

#include <array>

#include "data/pipe/loader.h"
#include "data/sample/sampler.h"
#include "engine/dist/comm.h"
#include "engine/train/batch.h"

namespace spn::cli {

class ResidentSource final : public train::BatchSource {
 public:
  // Every rank holds all rows, or where `limit_bytes` a rank are too few, its share of them (row i lies on rank i
  // modulo ranks): each batch is then put together over `ranks`, and next() is collective. limit_bytes 0: four fifths
  // of what is free, half on a GPU. Usage error when the shares do not fit either. Collective.
  ResidentSource(const data::PackSet& packs, const data::Sampler& sampler, std::int64_t first_step,
                 std::int64_t end_step, dist::Comm& ranks, Device where, std::int64_t limit_bytes);
  train::Batch next() override;
  std::int64_t bytes() const { return bytes_; }  // held by this rank

 private:
  void read(const data::PackSet& packs);
  Tensor gather(const Tensor& table, const Tensor& index) const;
  // Which rows of the tables form a step, on their device; the same count in every step.
  Tensor rows_of_step(std::int64_t step);

  data::Sampler sampler_;
  dist::Comm& ranks_;
  Device where_;
  std::int64_t step_, end_step_, rows_, bytes_ = 0;
  bool sharded_ = false;
  train::Batch table_;  // [rows held, …]; sharded: and a last row of zeros
  Tensor order_;        // i64: the rows of the steps from order_from_ on
  std::int64_t order_from_ = 0, order_steps_ = 0;
};

}  // namespace spn::cli
