// inspect for packs and .h5ad files.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "data/h5/h5.h"
#include "data/pack/verify.h"
#include "data/pipe/loader.h"
#include "launch/cli/inspect.h"

namespace spn::cli {
namespace {

using data::h5::Dataset;
using data::h5::File;
using data::h5::Type;

std::string by_size(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t u = 0;
  for (; bytes >= 1000 && u < 4; ++u) bytes /= 1000;
  return fmt::format("{:.{}f} {}", bytes, u == 0 ? 0 : 1, units[u]);
}

std::string file_size(const std::string& path) {
  return by_size(static_cast<double>(std::filesystem::file_size(path)));
}

std::string window(double um) { return um > 0 ? fmt::format("{:g} um", um) : std::string("by the slide's pitch"); }

std::string or_dash(const std::string& s) { return s.empty() ? "-" : s; }

void print_features(const data::PackReader& pack, data::FeatureKind kind, std::ostream& out) {
  const auto& info = pack.features(kind);
  if (!info) return;
  const auto fact = [&](const char* name) {
    const auto found = info->facts.find(name);
    return found == info->facts.end() ? std::string("-") : found->second;
  };
  print(out, "  features    {}: width {} as {}, {}\n", name_of(kind), info->width,
        info->type == data::GeneType::f16 ? "float16" : "float32",
        info->complete() ? "complete"
                         : fmt::format("INCOMPLETE: {}; spotniche encode, given again, goes on", info->progress()));
  if (kind == data::FeatureKind::niche_image)
    print(out, "              of weights {} ({})\n              of a ViT {} in {}\n", info->checksum, fact("weights"),
          fact("encoder_config"), fact("precision"));
  else
    print(out, "              from {} {} (sha256 {}), {} spots without\n", fact("source"), fact("key"),
          fact("source_sha256"), fact("missing_rows"));
}

}  // namespace

Faults inspect_pack(const std::string& path, bool verify, std::ostream& out) {
  const data::PackReader pack(path);
  const data::PackHeader& h = pack.header();
  const char* type = h.gene_type == data::GeneType::f16 ? "float16" : "float32";
  print(out, "{}: a pack, format {}, {}, made by spotniche {}\n", path, data::kPackVersion, file_size(path),
        or_dash(h.spotniche_version));
  print(out, "  source      {} ({})\n", or_dash(h.source), or_dash(h.source_format));
  print(out, "  spots       {} in {} slides\n", h.spots, pack.slides().size());
  print(out, "  spot image  {0} x {0} px, window {1}\n", h.spot_px, window(h.spot_window_um));
  print(out, "  niche image {0} x {0} px, window {1}\n", h.niche_px, window(h.niche_window_um));
  print(out, "  niche       {}\n",
        h.niche_neighbours > 0 ? fmt::format("{} nearest spots", h.niche_neighbours)
                               : "radius " + window(h.niche_radius_um));
  print(out, "  genes       {} ({} a spot vector) as {}: {}\n", h.niche_genes, h.spot_genes, type, h.normalisation);
  print(out, "  clusters    {}\n", h.has_cluster ? "yes" : "no");
  for (const data::FeatureKind kind : data::kFeatureKinds) print_features(pack, kind, out);
  print(out, "  a row       {}, all rows {}\n", by_size(static_cast<double>(data::row_bytes(h))),
        by_size(static_cast<double>(data::row_bytes(h)) * static_cast<double>(h.spots)));
  print(out, "  fingerprint {}\n", data::PackSet({path}).fingerprint());
  std::size_t wide = 5;
  for (const data::PackSlide& s : pack.slides()) wide = std::max(wide, s.name.size());
  print(out, "  {:<{}} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7}  {}\n", "slide", wide, "spots", "um/px", "pitch", "niche um",
        "radius", "padded", "technology, species, tissue");
  for (const data::PackSlide& s : pack.slides())
    print(out, "  {:<{}} {:>8} {:>8.4f} {:>8g} {:>9g} {:>8g} {:>7}  {}, {}, {}\n", s.name, wide, s.rows, s.um_per_px,
          s.pitch_um, s.niche_window_um, s.niche_radius_um, s.padded_windows, or_dash(s.technology), or_dash(s.species),
          or_dash(s.tissue));
  for (const data::PackSlide& s : pack.slides())
    if (s.cluster_names != "[]") print(out, "  clusters of {}: {}\n", s.name, s.cluster_names);
  return verify ? data::verify_pack(pack) : Faults{};
}

namespace {

// A dataset or encoded group in one word or two.
std::string describe(const File& file, const std::string& name) {
  if (file.is_group(name))
    return file.has_attribute(name, "encoding-type") ? file.text(name, "encoding-type") : std::string("group");
  const Dataset d = file.dataset(name);
  return d.shape.empty() ? fmt::format("{} scalar", name_of(d.type))
                         : fmt::format("{} [{}]", name_of(d.type), fmt::join(d.shape, ", "));
}

void check_obsm(const File& file, std::int64_t spots, Faults& faults) {
  constexpr std::int64_t kRows = 4096;  // at once
  for (const std::string& key : file.children("/obsm")) {
    const std::string name = "/obsm/" + key;
    if (file.is_group(name)) continue;  // a dataframe or a sparse matrix: not written by embed
    const Dataset d = file.dataset(name);
    if (d.shape.size() != 2 || d.shape[0] != spots) {
      faults.push_back(fmt::format("obsm['{}'] is {}, expected {} rows", key, describe(file, name), spots));
      continue;
    }
    std::vector<double> rows;
    std::int64_t bad = 0, first = -1;
    for (std::int64_t at = 0; at < spots; at += kRows) {
      const std::int64_t n = std::min(kRows, spots - at);
      rows.resize(static_cast<std::size_t>(n * d.shape[1]));
      file.read_rows(name, Type::f64, rows.data(), at, n);
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (!std::isfinite(rows[i]) && bad++ == 0) first = at + static_cast<std::int64_t>(i) / d.shape[1];
    }
    if (bad > 0)
      faults.push_back(fmt::format("obsm['{}'] holds {} values that are not finite, first at row {}", key, bad, first));
  }
}

}  // namespace

Faults inspect_h5ad(const std::string& path, bool verify, std::ostream& out) {
  const File file = File::open(path);
  const bool ours = file.has("/uns/spotniche");
  const std::string index = file.has_attribute("/obs", "_index") ? file.text("/obs", "_index") : "_index";
  const auto names = file.read_strings("/obs/" + index);
  const auto spots = static_cast<std::int64_t>(names.size());
  print(out, "{}: an .h5ad {}, {}\n", path, ours ? "of embeddings" : "that spotniche did not write", file_size(path));
  print(out, "  spots       {}, first '{}'\n", spots, names.empty() ? "" : names.front());
  for (const char* group : {"/obs", "/obsm", "/uns/spotniche"}) {
    if (!file.has(group)) continue;
    for (const std::string& key : file.children(group))
      if (key != index)
        print(out, "  {:<34} {}\n", fmt::format("{}/{}", group + 1, key),
              describe(file, fmt::format("{}/{}", group, key)));
  }
  Faults faults;
  if (!verify) return faults;
  std::set<std::string> seen;
  for (const std::string& n : names)
    if (!seen.insert(n).second) {
      faults.push_back(fmt::format("obs name '{}' is used twice", n));
      break;
    }
  if (file.has("/obsm")) check_obsm(file, spots, faults);
  if (ours && !file.has("/obsm/X_spotniche")) faults.push_back("expected obsm['X_spotniche'], got none");
  return faults;
}

}  // namespace spn::cli
