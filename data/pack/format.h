// The pack: one HDF5 file, one row a spot-niche pair. Names, shapes and attributes in one place (docs/formats.md).
// Every /spots dataset has contiguous layout, so that a row lies at offset + row · bytes and is read by one pread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::data {

inline constexpr const char* kPackFormat = "spotniche-pack";
inline constexpr int kPackVersion = 1;

enum class GeneType : std::uint8_t { f32, f16 };  // how gene vectors are stored; always float32 in memory

// Root attributes: how the pack was made.
struct PackHeader {
  std::int64_t spots = 0;
  int spot_px = 32, niche_px = 64;      // S, N
  int spot_genes = 0, niche_genes = 0;  // Gs, G
  GeneType gene_type = GeneType::f32;
  double spot_window_um = 100, niche_window_um = 0, niche_radius_um = 0;  // 0: by each slide's pitch
  std::int64_t niche_neighbours = 0;                                      // k nearest; 0: by radius
  std::string normalisation = "log1p(1e4 * x / sum(x)) over all genes of the slide";
  std::string source_format, source, spotniche_version;
  bool has_cluster = false;
};

// /slides/*: one entry a slide.
struct PackSlide {
  std::string name, tissue, species, technology;
  double um_per_px = 0, pitch_um = 0, niche_window_um = 0, niche_radius_um = 0;
  std::int64_t first_row = 0, rows = 0;
  std::int64_t padded_windows = 0;   // windows that left the image and were filled with the slide's background
  std::string cluster_names = "[]";  // JSON array: the label of each cluster id of this slide; [] where it has none
};

// Host rows [first, first + n) of a pack; each vector is [n, …] row-major. Empty vectors: not written / not asked for.
struct PackRows {
  std::vector<std::string> name;
  std::vector<std::int32_t> slide;  // row of /slides
  std::vector<double> xy;           // [n,2] x, y in full-resolution px
  std::vector<std::int32_t> array_row, array_col;
  std::vector<std::uint8_t> spot_image;   // [n,S,S,3]
  std::vector<std::uint8_t> niche_image;  // [n,N,N,3]
  std::vector<float> spot_gene;           // [n,Gs]
  std::vector<float> niche_gene;          // [n,G]
  std::vector<std::int32_t> cluster;      // -1 unknown
};

}  // namespace spn::data
