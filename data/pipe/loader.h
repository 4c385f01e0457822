// Loader: this rank's batches, read ahead by a thread. Images stay uint8: normalisation and augmentation are a kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/pack/reader.h"
#include "data/sample/sampler.h"

namespace spn::data {

// One rank's part of a global batch; vectors are [b, …] row-major.
struct HostBatch {
  std::int64_t step = 0, epoch = 0;
  std::int64_t first_position = 0;    // position of the first row in the global batch
  std::vector<std::int64_t> row;      // row in the joined packs
  std::vector<std::int32_t> slide;    // slide over the joined packs
  std::vector<std::int32_t> cluster;  // -1 unknown
  std::vector<float> xy_um;           // [b,2] position in µm on its slide
  std::vector<std::uint8_t> spot_image, niche_image;
  std::vector<float> spot_gene, niche_gene;
};

// Several packs read as one, rows joined in order. They must agree in sizes, genes and normalisation and share no slide
// (data error that says how not).
class PackSet {
 public:
  explicit PackSet(const std::vector<std::string>& paths);
  std::int64_t rows() const;
  const PackReader& pack(std::size_t i) const { return packs_[i]; }
  std::size_t packs() const { return packs_.size(); }
  const PackHeader& header() const { return packs_.front().header(); }
  const std::vector<std::string>& genes() const { return packs_.front().genes(); }
  std::string fingerprint() const;  // over all packs, in order
  // Fills everything but step, epoch and first_position.
  void read(const std::vector<std::int64_t>& rows, HostBatch& out) const;

 private:
  std::vector<PackReader> packs_;
  std::vector<std::int64_t> first_;            // first joined row of each pack
  std::vector<std::int32_t> slide_, cluster_;  // per joined row
  std::vector<float> xy_um_;
};

class Loader {
 public:
  // Reads steps [first_step, end_step) for rank of size, `depth` batches ahead on `threads` threads.
  Loader(const PackSet& packs, const Sampler& sampler, std::int64_t first_step, std::int64_t end_step, int rank,
         int size, int depth = 3, int threads = 1);
  ~Loader();
  // The next step's batch; errors of the reading threads are thrown here. Must not be called after end_step - 1.
  HostBatch next();
  // Optional: gives a used batch's memory back, so that the next ones need no fresh pages (twice the rows a second).
  void recycle(HostBatch&& used);

 private:
  struct Impl;
  void shut() noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::data
