// Wires data's loader to what the engine consumes.
#pragma once

#include "data/pipe/loader.h"
#include "engine/train/batch.h"

namespace spn::cli {

// Moves a host batch into tensors (host memory; the trainer moves them to its device).
train::Batch to_batch(const data::HostBatch& host, const data::PackHeader& header);

class LoaderSource final : public train::BatchSource {
 public:
  LoaderSource(const data::PackSet& packs, const data::Sampler& sampler, std::int64_t first_step, std::int64_t end_step,
               int rank, int size, int depth, int threads)
      : header_(packs.header()), loader_(packs, sampler, first_step, end_step, rank, size, depth, threads) {}
  train::Batch next() override {
    data::HostBatch host = loader_.next();
    train::Batch batch = to_batch(host, header_);
    loader_.recycle(std::move(host));
    return batch;
  }

 private:
  data::PackHeader header_;
  data::Loader loader_;
};

}  // namespace spn::cli
