// What a reader makes of one slide on disk, whatever the format: the input of `prepare`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace spn::data {

// Array technology decides pitch and so µm per pixel. `other`: the pitch must be given.
enum class Tech : std::uint8_t { visium, st, visium_hd, other };

// Expression of one slide, spots × genes, as sparse rows (CSR). Values are raw counts.
struct Counts {
  std::vector<std::string> genes;       // column names, unique after duplicates are summed
  std::vector<std::int64_t> row_begin;  // [spots + 1]
  std::vector<std::int32_t> column;     // [nnz], ascending inside a row
  std::vector<float> value;             // [nnz], > 0
  std::int64_t spots() const { return static_cast<std::int64_t>(row_begin.size()) - 1; }
};

// What was left out, and why: printed by prepare, never silent.
struct Dropped {
  std::int64_t only_in_coordinates = 0;  // id has no counts
  std::int64_t only_in_counts = 0;       // id has no coordinates
  std::int64_t empty_spots = 0;          // all counts zero
  std::int64_t duplicate_genes = 0;      // columns summed into an earlier one (X.1, repeated symbols)
  std::int64_t empty_counts = 0;         // empty cells read as 0 (only where the format says so)
  std::int64_t outside_image = 0;        // spots whose centre lies outside the image
};

struct SlideInfo {
  std::string name;                         // as in the source; spot names are {name}_{native}
  std::string tissue, species, technology;  // as in the metadata; empty when unknown
  Tech tech = Tech::other;
  std::string image_path;
  double pitch_um = 0;     // centre-to-centre distance of the array
  std::int64_t bytes = 0;  // of its counts and image files: how much work it is
};

// One slide with its spots in the order of its counts file.
struct Slide {
  SlideInfo info;
  std::vector<std::string> spot_name;              // full names, unique
  std::vector<double> x, y;                        // pixel centres in the image
  std::vector<std::int32_t> array_row, array_col;  // -1 where unknown
  std::vector<std::int32_t> cluster;               // -1 where unknown or without annotation
  std::vector<std::string> cluster_names;          // label of each cluster id; none where labels are numbers
  Counts counts;
  Dropped dropped;
  double um_per_px = 0;  // pitch_um / median nearest-neighbour distance
};

}  // namespace spn::data
