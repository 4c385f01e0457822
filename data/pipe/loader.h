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
  std::vector<float> niche_feature;  // in place of niche_image, which is then empty
};

// What stands in for a payload in every batch; all packs must hold it, complete and alike.
struct Stored {
  bool niche_features = false;  // niche_feature instead of niche_image, which is not read at all
  bool spot_features = false;   // spot_gene holds the spot_gene features
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
  // Over all packs, in order; spot_gene features that are read take part, niche features (a cache) do not.
  std::string fingerprint() const;
  std::string names_fingerprint() const;  // as PackReader's

  // Why batches cannot hold the features of this kind: a pack lacks them, has them in part, or packs have unlike ones.
  // Empty: they can.
  std::string features_missing(FeatureKind kind) const;
  void read_stored(const Stored& stored);  // before any reading
  const Stored& stored() const { return stored_; }
  const FeatureInfo& features(FeatureKind kind) const { return *packs_.front().features(kind); }
  // Width of HostBatch::spot_gene.
  std::int64_t spot_width() const;
  // Fills everything but step, epoch and first_position.
  void read(const std::vector<std::int64_t>& rows, HostBatch& out) const;

 private:
  std::vector<PackReader> packs_;
  std::vector<std::int64_t> first_;            // first joined row of each pack
  std::vector<std::int32_t> slide_, cluster_;  // per joined row
  std::vector<float> xy_um_;
  Stored stored_;
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
