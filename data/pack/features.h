// Features of a pack: a vector a row that a frozen encoder gave, computed once (`spotniche encode`). Written in place,
// block by block: /spots/{kind}_feature [n,width], and /spots/{kind}_feature_blocks, one byte a block, 1 when the
// block's rows are on disk. Nothing else of the file changes after the two are made, so a kill loses at most the blocks
// in work.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/h5/h5.h"
#include "data/pack/format.h"
#include "engine/dist/comm.h"

namespace spn::data {

enum class FeatureKind : std::uint8_t { niche_image, spot_gene };
inline constexpr FeatureKind kFeatureKinds[] = {FeatureKind::niche_image, FeatureKind::spot_gene};
const char* name_of(FeatureKind kind);     // "niche_image"
std::string feature_dataset(FeatureKind);  // "/spots/niche_image_feature"
std::string feature_blocks(FeatureKind);   // "/spots/niche_image_feature_blocks"

struct FeatureInfo {
  std::int64_t width = 0;
  GeneType type = GeneType::f32;
  std::int64_t block_rows = 0;
  std::string checksum;                      // SHA-256 of what made them: the encoder's weights, or the values joined
  std::map<std::string, std::string> facts;  // more text attributes, by name
  std::int64_t blocks = 0, done = 0;         // filled in by reading

  bool complete() const { return done == blocks; }
  // "3 of 10 blocks of 32 rows"
  std::string progress() const;
};

// Absent: the pack has none of that kind. Data error when they do not fit the pack.
std::optional<FeatureInfo> read_features(const h5::File& file, FeatureKind kind, std::int64_t spots);

class FeatureWriter {
 public:
  // Collective; rank 0's `want` counts. Begins features, or goes on with those that are there. Data error when there
  // are some of another checksum, width, type or other facts, unless `overwrite`: then these, and complete ones, are
  // begun anew, the old ones' bytes staying where readers look for them. The pack's only writer until finish() or its
  // end; data error while there is another. `blocks` and `done` of `want` are not looked at; block_rows is that of the
  // run that began.
  FeatureWriter(dist::Comm& comm, std::string path, FeatureKind kind, const FeatureInfo& want, bool overwrite);
  ~FeatureWriter();
  FeatureWriter(const FeatureWriter&) = delete;
  FeatureWriter& operator=(const FeatureWriter&) = delete;

  const FeatureInfo& info() const;
  // Blocks that are not on disk yet, the same on all ranks.
  const std::vector<std::int64_t>& todo() const;
  std::int64_t first_row(std::int64_t block) const;
  std::int64_t rows(std::int64_t block) const;
  // Not collective. All rows of a block, row-major; on disk, and marked so, when it returns.
  void write(std::int64_t block, std::span<const float> values);
  // Collective. What was written is durable, marks included.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::data
