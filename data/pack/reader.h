// PackReader: rows of a pack by index. Thread-safe row reads (pread at dataset offsets; HDF5 only while opening).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/pack/features.h"
#include "data/pack/format.h"

namespace spn::data {

class PackReader {
 public:
  // Data error with the reason when PATH is not a pack, of another version, truncated, or inconsistent.
  explicit PackReader(std::string path);
  ~PackReader();
  PackReader(PackReader&&) noexcept;
  PackReader& operator=(PackReader&&) noexcept;

  const std::string& path() const;
  const PackHeader& header() const;
  const std::vector<PackSlide>& slides() const;
  const std::vector<std::string>& genes() const;
  // As they were when the pack was opened.
  const std::optional<FeatureInfo>& features(FeatureKind kind) const;
  // Identity of the content, for a checkpoint, so that a resumed run can refuse another pack: "2:" and the SHA-256 in
  // hex of header, slides, genes, names, coordinates, slide indices, clusters, and of the images and gene vectors of as
  // many rows as sample_bytes hold, spread evenly, the first and the last among them: of a small pack all, of a large
  // one a sample. Features do not change it. Reads up to sample_bytes: let one rank ask.
  static constexpr std::int64_t kSampleBytes = std::int64_t{64} << 20;
  std::string fingerprint(std::int64_t sample_bytes = kSampleBytes) const;
  // What checkpoints carry that were written before values were part of it: header, slides, genes and names.
  std::string names_fingerprint() const;

  // All names, slides, coordinates: small tables, read whole.
  std::vector<std::string> read_names() const;
  std::vector<std::int32_t> read_slide_index() const;
  std::vector<double> read_xy() const;                       // [n,2]
  std::vector<std::int32_t> read_clusters() const;           // all -1 without /spots/cluster
  std::vector<std::int32_t> read_array(bool columns) const;  // array_row or array_col, -1 unknown

  // The payload datasets of one row into caller's memory; a null pointer skips that dataset. Thread-safe.
  struct Row {
    std::uint8_t* spot_image = nullptr;
    std::uint8_t* niche_image = nullptr;
    float* spot_gene = nullptr;
    float* niche_gene = nullptr;
    float* niche_feature = nullptr;  // the pack must have them
    float* spot_feature = nullptr;
  };
  void read_row(std::int64_t row, const Row& out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::data
