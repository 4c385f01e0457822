#include "data/pack/layout.h"

#include <fmt/format.h>

#include <utility>

#include "engine/core/check.h"

namespace spn::data {
namespace {

using h5::Type;

constexpr const char* kClusterNames = "/slides/cluster_names";  // packs made before it have none

// The numeric and text columns of /slides, each beside the member that it fills.
constexpr std::pair<const char*, std::string PackSlide::*> kTexts[] = {{"/slides/name", &PackSlide::name},
                                                                       {"/slides/tissue", &PackSlide::tissue},
                                                                       {"/slides/species", &PackSlide::species},
                                                                       {"/slides/technology", &PackSlide::technology}};
constexpr std::pair<const char*, double PackSlide::*> kNumbers[] = {
    {"/slides/um_per_px", &PackSlide::um_per_px},
    {"/slides/pitch_um", &PackSlide::pitch_um},
    {"/slides/niche_window_um", &PackSlide::niche_window_um},
    {"/slides/niche_radius_um", &PackSlide::niche_radius_um}};
constexpr std::pair<const char*, std::int64_t PackSlide::*> kCounts[] = {
    {"/slides/first_row", &PackSlide::first_row},
    {"/slides/rows", &PackSlide::rows},
    {"/slides/padded_windows", &PackSlide::padded_windows}};

std::string shape_text(const std::vector<std::int64_t>& s) { return fmt::format("[{}]", fmt::join(s, ", ")); }

// A dataset with the dims given; -1 accepts any extent.
h5::Dataset expect(const h5::File& file, const char* name, const std::vector<std::int64_t>& want) {
  const h5::Dataset d = file.dataset(name);
  bool same = d.shape.size() == want.size();
  for (std::size_t i = 0; same && i < want.size(); ++i) same = want[i] < 0 || want[i] == d.shape[i];
  if (!same)
    fail_data("pack",
              "expected {} to be {} (-1: any) in '{}', got {}; the file was changed after prepare, make it again", name,
              shape_text(want), file.path(), shape_text(d.shape));
  if (!d.filter.empty())
    fail_data("pack", "{} in '{}' is compressed with '{}', which this HDF5 library lacks; rewrite it with gzip or none",
              name, file.path(), d.filter);
  return d;
}

GeneType gene_type(const h5::File& file, const char* name, const h5::Dataset& d) {
  if (d.type != Type::f16 && d.type != Type::f32)
    fail_data("pack", "expected {} of float16 or float32 in '{}', got {}", name, file.path(), h5::name_of(d.type));
  return d.type == Type::f16 ? GeneType::f16 : GeneType::f32;
}

void expect_type(const h5::File& file, const char* name, const h5::Dataset& d, Type want) {
  if (d.type != want)
    fail_data("pack", "expected {} of {} in '{}', got {}", name, h5::name_of(want), file.path(), h5::name_of(d.type));
}

}  // namespace

void make_spots(h5::File& file, const PackHeader& h) {
  const std::int64_t n = h.spots;
  const Type gene = h.gene_type == GeneType::f16 ? Type::f16 : Type::f32;
  for (const char* group : {"/spots", "/slides", "/genes"}) file.make_group(group);
  file.make_dataset(kSpotSlide, Type::i32, {n});
  file.make_dataset(kSpotXy, Type::f64, {n, 2});
  file.make_dataset(kArrayRow, Type::i32, {n});
  file.make_dataset(kArrayCol, Type::i32, {n});
  if (h.has_cluster) file.make_dataset(kCluster, Type::i32, {n});
  file.make_dataset(kSpotImage, Type::u8, {n, h.spot_px, h.spot_px, 3});
  file.make_dataset(kNicheImage, Type::u8, {n, h.niche_px, h.niche_px, 3});
  file.make_dataset(kSpotGene, gene, {n, h.spot_genes});
  file.make_dataset(kNicheGene, gene, {n, h.niche_genes});
}

void write_tables(h5::File& file, const PackHeader& h, const std::vector<PackSlide>& slides,
                  const std::vector<std::string>& genes) {
  const auto count = static_cast<std::int64_t>(slides.size());
  for (const auto& [name, member] : kTexts) {
    std::vector<std::string> column;
    for (const PackSlide& s : slides) column.push_back(s.*member);
    file.write_strings(name, column);
  }
  std::vector<std::string> labels;
  for (const PackSlide& s : slides) labels.push_back(s.cluster_names);
  file.write_strings(kClusterNames, labels);
  for (const auto& [name, member] : kNumbers) {
    std::vector<double> column;
    for (const PackSlide& s : slides) column.push_back(s.*member);
    file.write_all(name, Type::f64, {count}, column.data());
  }
  for (const auto& [name, member] : kCounts) {
    std::vector<std::int64_t> column;
    for (const PackSlide& s : slides) column.push_back(s.*member);
    file.write_all(name, Type::i64, {count}, column.data());
  }
  file.write_strings(kGeneName, genes);

  // the pitch that all slides share; 0 when they differ (then /slides/pitch_um tells)
  double pitch = slides.front().pitch_um;
  for (const PackSlide& s : slides)
    if (s.pitch_um != pitch) pitch = 0;
  file.set_number("/", "pitch_um", pitch);
  file.set_number("/", "spot_window_um", h.spot_window_um);
  file.set_number("/", "niche_window_um", h.niche_window_um);
  file.set_number("/", "niche_radius_um", h.niche_radius_um);
  file.set_integer("/", "niche_neighbours", h.niche_neighbours);
  file.set_text("/", "normalisation", h.normalisation);
  file.set_text("/", "source_format", h.source_format);
  file.set_text("/", "source", h.source);
  file.set_text("/", "spotniche_version", h.spotniche_version);
  file.set_integer("/", "format_version", kPackVersion);
  file.set_text("/", "format", kPackFormat);
}

PackHeader read_header(const h5::File& file) {
  const std::string& path = file.path();
  if (!file.has_attribute("/", "format") || file.text("/", "format") != kPackFormat)
    fail_data(
        "pack",
        "expected a pack (root attribute format = \"{}\"), got another HDF5 file '{}'; make one with spotniche prepare",
        kPackFormat, path);
  const std::int64_t version = file.integer("/", "format_version");
  if (version != kPackVersion)
    fail_data("pack", "expected format_version {}, got {} in '{}'; make the pack again with this spotniche",
              kPackVersion, version, path);
  PackHeader h;
  const h5::Dataset slide = expect(file, kSpotSlide, {-1});
  h.spots = slide.shape[0];
  if (h.spots == 0) fail_data("pack", "expected at least one spot in '{}', got none", path);
  const h5::Dataset spot = expect(file, kSpotImage, {h.spots, -1, -1, 3}),
                    niche = expect(file, kNicheImage, {h.spots, -1, -1, 3});
  expect(file, kSpotImage, {h.spots, spot.shape[1], spot.shape[1], 3});
  expect(file, kNicheImage, {h.spots, niche.shape[1], niche.shape[1], 3});
  expect_type(file, kSpotImage, spot, Type::u8);
  expect_type(file, kNicheImage, niche, Type::u8);
  h.spot_px = static_cast<int>(spot.shape[1]);
  h.niche_px = static_cast<int>(niche.shape[1]);
  const h5::Dataset spot_gene = expect(file, kSpotGene, {h.spots, -1}),
                    niche_gene = expect(file, kNicheGene, {h.spots, -1});
  gene_type(file, kSpotGene, spot_gene);
  h.gene_type = gene_type(file, kNicheGene, niche_gene);
  h.spot_genes = static_cast<int>(spot_gene.shape[1]);
  h.niche_genes = static_cast<int>(niche_gene.shape[1]);
  expect(file, kSpotName, {h.spots});
  expect(file, kSpotXy, {h.spots, 2});
  expect(file, kArrayRow, {h.spots});
  expect(file, kArrayCol, {h.spots});
  expect(file, kGeneName, {h.niche_genes});
  h.has_cluster = file.has(kCluster);
  if (h.has_cluster) expect(file, kCluster, {h.spots});

  h.spot_window_um = file.number("/", "spot_window_um");
  h.niche_window_um = file.number("/", "niche_window_um");
  h.niche_radius_um = file.number("/", "niche_radius_um");
  h.niche_neighbours = file.integer("/", "niche_neighbours");
  h.normalisation = file.text("/", "normalisation");
  h.source_format = file.text("/", "source_format");
  h.source = file.text("/", "source");
  h.spotniche_version = file.text("/", "spotniche_version");
  return h;
}

std::vector<PackSlide> read_slides(const h5::File& file) {
  const std::vector<std::string> names = file.read_strings("/slides/name");
  const auto count = static_cast<std::int64_t>(names.size());
  std::vector<PackSlide> slides(names.size());
  for (const auto& [name, member] : kTexts) {
    expect(file, name, {count});
    const auto column = file.read_strings(name);
    for (std::size_t i = 0; i < slides.size(); ++i) slides[i].*member = column[i];
  }
  for (const auto& [name, member] : kNumbers) {
    expect(file, name, {count});
    std::vector<double> column(slides.size());
    file.read_rows(name, Type::f64, column.data(), 0, count);
    for (std::size_t i = 0; i < slides.size(); ++i) slides[i].*member = column[i];
  }
  for (const auto& [name, member] : kCounts) {
    expect(file, name, {count});
    std::vector<std::int64_t> column(slides.size());
    file.read_rows(name, Type::i64, column.data(), 0, count);
    for (std::size_t i = 0; i < slides.size(); ++i) slides[i].*member = column[i];
  }
  if (file.has(kClusterNames)) {
    expect(file, kClusterNames, {count});
    const auto column = file.read_strings(kClusterNames);
    for (std::size_t i = 0; i < slides.size(); ++i) slides[i].cluster_names = column[i];
  }
  return slides;
}

void check_slides(const std::string& path, const std::vector<PackSlide>& slides, std::int64_t spots) {
  std::int64_t at = 0;
  for (const PackSlide& s : slides) {
    if (s.first_row != at || s.rows <= 0)
      fail_data("pack", "expected slide '{}' to begin at row {} with at least one row, got row {} and {} rows in '{}'",
                s.name, at, s.first_row, s.rows, path);
    at += s.rows;
  }
  if (at != spots) fail_data("pack", "expected the slides to cover {} rows, got {} in '{}'", spots, at, path);
}

std::string describe(const PackHeader& h, const std::vector<PackSlide>& slides) {
  std::string all = fmt::format("{} {} {} {} {} {} {} {} {} {} {} {}\n{}\n{}\n{}\n", kPackVersion, h.spots, h.spot_px,
                                h.niche_px, h.spot_genes, h.niche_genes, h.gene_type == GeneType::f16 ? "f16" : "f32",
                                h.spot_window_um, h.niche_window_um, h.niche_radius_um, h.niche_neighbours,
                                h.has_cluster, h.normalisation, h.source_format, h.spotniche_version);
  for (const PackSlide& s : slides) {
    for (const auto& [name, member] : kTexts) all += s.*member + '\0';
    for (const auto& [name, member] : kNumbers) all += fmt::format("{} ", s.*member);
    for (const auto& [name, member] : kCounts) all += fmt::format("{} ", s.*member);
    all += '\n';
  }
  return all;
}

}  // namespace spn::data
