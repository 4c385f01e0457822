// prepare: slides of a real format on disk → one pack. Slides are spread over the ranks; all write the same file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/pack/format.h"
#include "data/schema/slide.h"
#include "engine/dist/comm.h"

namespace spn::data {

struct PrepareOptions {
  std::string format = "stimage-1k4m", input, output;
  std::vector<std::string> slides;  // names or globs (* ? [a-z]); empty: all
  std::string gene_list;            // a pack or a file of names; empty: the gene_count most variable genes
  std::int64_t gene_count = 512;
  double gene_presence = 1;  // share of the slides that must have a gene for it to be chosen
  double spot_window_um = 100, niche_window_um = 0, niche_radius_um = 0;  // 0: 2 and 1.5 times each slide's pitch
  std::int64_t niche_neighbours = 0;                                      // k nearest instead of a radius
  int spot_image_px = 32, niche_image_px = 64;
  GeneType gene_type = GeneType::f32;
  double pitch_um = 0;                                 // for all slides; 0: by technology
  bool force = false;                                  // replace an existing output
  std::string version;                                 // of this program, for the pack's attributes
  std::function<bool()> stop_requested;                // asked before each slide; may be empty
  std::int64_t cache_bytes = std::int64_t{256} << 20;  // counts kept between the two passes; slides beyond are re-read
};

struct PreparedSlide {
  std::string name;
  std::int64_t spots = 0;  // rows in the pack
  Dropped dropped;
  std::int64_t padded_spot = 0, padded_niche = 0;  // windows that left the image
  std::int64_t genes = 0, genes_found = 0;         // of the slide; of the list
  std::int64_t width = 0, height = 0;              // image, px
  std::int64_t labelled = 0;                       // spots with a cluster
  double um_per_px = 0, pitch_um = 0, niche_window_um = 0, niche_radius_um = 0;
};

struct PrepareReport {
  std::vector<PreparedSlide> slides;  // in the pack's order, by name
  std::vector<std::string> genes;
  std::int64_t spots = 0;
  double read_seconds = 0, write_seconds = 0;  // of the slowest rank
};

// Collective; the same report on all ranks. Rows of a slide run from the top of its image down (by y, then x).
// Usage errors: options that contradict each other, an output that exists, slide names that match nothing. Data errors:
// whatever is wrong with the files, with file and row. After an error, or a stop, which is one, nothing is left at the
// output.
PrepareReport prepare(dist::Comm& comm, const PrepareOptions& options);

}  // namespace spn::data
