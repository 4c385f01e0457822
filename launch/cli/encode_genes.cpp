// Embeddings of spots that another program computed, joined to a pack by name. Rank 0 works, all fail together.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "data/readers/embeddings.h"
#include "engine/core/log.h"
#include "engine/core/sha256.h"
#include "engine/dist/together.h"
#include "launch/cli/encode.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

constexpr std::int64_t kBlockRows = 4096;
constexpr std::size_t kNamed = 5;

// What was joined, for rank 0.
std::vector<float> join(const std::string& path, const EncodeGenes& o, data::FeatureInfo& want) {
  const bool npy = !o.names.empty();
  const data::PackReader pack(path);
  const data::Embeddings e =
      npy ? data::read_npy_embeddings(o.embeddings, o.names) : data::read_h5ad_embeddings(o.embeddings, o.key);
  const data::Join j = data::join_embeddings(e, pack);
  if (!j.missing.empty()) {
    std::string named;
    for (std::size_t i = 0; i < std::min(kNamed, j.missing.size()); ++i)
      named += (named.empty() ? "'" : ", '") + j.missing[i] + "'";
    if (j.missing.size() > kNamed) named += ", …";
    const std::string text = fmt::format("{} of {} spots of '{}' have no embedding in '{}': {}", j.missing.size(),
                                         j.row.size(), path, o.embeddings, named);
    if (!o.zero_missing) fail_data("encode", "{}; --missing zero gives them zero vectors", text);
    log::warn("{}; they get zero vectors", text);
  }
  if (j.surplus > 0) log::info("{} embeddings of '{}' belong to no spot of '{}'", j.surplus, o.embeddings, path);
  std::vector<float> values = data::joined_values(e, j, pack);
  want.width = e.width;
  want.type = o.half ? data::GeneType::f16 : data::GeneType::f32;
  want.block_rows = kBlockRows;
  want.checksum = sha256({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])});
  want.facts["encoder"] = "spot_gene";
  want.facts["source"] = std::filesystem::path(o.embeddings).filename().string();
  want.facts["source_sha256"] = sha256_file(o.embeddings);
  if (!npy) want.facts["key"] = o.key;
  want.facts["missing_rows"] = std::to_string(j.missing.size());
  want.facts["spotniche_version"] = version();
  return values;
}

}  // namespace

int encode_genes(dist::Comm& world, const std::string& path, const EncodeGenes& o) {
  data::FeatureInfo want;
  std::vector<float> values;
  dist::together(world, "encode", [&] {
    if (world.rank() == 0) values = join(path, o, want);
  });
  data::FeatureWriter writer(world, path, data::FeatureKind::spot_gene, want, o.overwrite);
  if (writer.todo().empty()) {
    log::info("{}: these spot_gene embeddings are there already; nothing to do", path);
    return exit_ok;
  }
  dist::together(world, "encode", [&] {
    if (world.rank() != 0) return;
    const auto width = static_cast<std::size_t>(want.width);
    for (const std::int64_t block : writer.todo())
      writer.write(block, {values.data() + static_cast<std::size_t>(writer.first_row(block)) * width,
                           static_cast<std::size_t>(writer.rows(block)) * width});
  });
  writer.finish();
  log::info("{}: spot_gene embeddings of width {} from {}; models with spot-gene-encoder = precomputed read them", path,
            writer.info().width, o.embeddings);
  return exit_ok;
}

}  // namespace spn::cli
