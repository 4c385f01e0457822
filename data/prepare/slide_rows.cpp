#include "data/prepare/slide_rows.h"

#include <algorithm>
#include <cmath>

#include "data/genes/normalise.h"
#include "data/image/crop.h"
#include "data/niche/neighbours.h"
#include "engine/core/check.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

constexpr std::int64_t kBatch = 64;  // rows written at a time

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

template <class T>
void take(std::vector<T>& v, const std::vector<std::int64_t>& rows) {
  std::vector<T> out;
  out.reserve(rows.size());
  for (const std::int64_t r : rows) out.push_back(std::move(v[at(r)]));
  v = std::move(out);
}

void take_spots(Slide& s, const std::vector<std::int64_t>& rows) {
  take(s.spot_name, rows);
  take(s.x, rows);
  take(s.y, rows);
  take(s.array_row, rows);
  take(s.array_col, rows);
  take(s.cluster, rows);
  take_rows(s.counts, rows);
}

[[noreturn]] void fail_outside(const Slide& s, std::int64_t width, std::int64_t height, std::int64_t outside) {
  const auto [x0, x1] = std::ranges::minmax(s.x);
  const auto [y0, y1] = std::ranges::minmax(s.y);
  const bool exchanged = x0 >= 0 && y0 >= 0 && x1 < static_cast<double>(height) && y1 < static_cast<double>(width);
  fail_data("prepare",
            "slide {}: {} of {} spot centres lie outside {} of {} x {} px (x {:.1f} to {:.1f}, y {:.1f} to "
            "{:.1f}); {}",
            s.info.name, outside, s.x.size(), s.info.image_path, width, height, x0, x1, y0, y1,
            exchanged ? "they would fit with x and y exchanged: check the columns of the coordinates"
                      : "image and coordinates are of different slides or resolutions: fetch both again");
}

// Rows to keep, from the top of the image down.
std::vector<std::int64_t> rows_to_keep(Slide& s, std::int64_t width, std::int64_t height) {
  std::vector<std::int64_t> rows;
  std::int64_t outside = 0;
  for (std::int64_t i = 0; i < s.counts.spots(); ++i) {
    const bool inside = s.x[at(i)] >= 0 && s.y[at(i)] >= 0 && s.x[at(i)] < static_cast<double>(width) &&
                        s.y[at(i)] < static_cast<double>(height);
    const bool empty = s.counts.row_begin[at(i)] == s.counts.row_begin[at(i) + 1];
    outside += !inside;
    s.dropped.empty_spots += inside && empty;
    if (inside && !empty) rows.push_back(i);
  }
  if (outside * 2 > s.counts.spots()) fail_outside(s, width, height, outside);
  s.dropped.outside_image = outside;
  std::ranges::stable_sort(rows, [&](std::int64_t a, std::int64_t b) {
    return s.y[at(a)] != s.y[at(b)] ? s.y[at(a)] < s.y[at(b)] : s.x[at(a)] < s.x[at(b)];
  });
  return rows;
}

// Both windows of every spot.
struct Windows {
  std::vector<Window> spot, niche;
  std::int64_t top(std::size_t i) const {
    return static_cast<std::int64_t>(std::floor(std::min(spot[i].top, niche[i].top)));
  }
};

Windows windows_of(const Slide& s, const PrepareOptions& options, PreparedSlide& report, const ImageSource& image) {
  Windows out;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    out.spot.push_back(window_around(s.x[i], s.y[i], options.spot_window_um, s.um_per_px));
    out.niche.push_back(window_around(s.x[i], s.y[i], report.niche_window_um, s.um_per_px));
    report.padded_spot += out.spot.back().leaves(image.width(), image.height());
    report.padded_niche += out.niche.back().leaves(image.width(), image.height());
  }
  return out;
}

}  // namespace

Slide load_slide(SlideReader& reader, const SlideInfo& info, const PrepareOptions& options, PreparedSlide& report) {
  Slide s = reader.read(info);
  const auto image = open_image(info.image_path);
  take_spots(s, rows_to_keep(s, image->width(), image->height()));
  if (s.x.empty())
    fail_data("prepare", "slide {}: no spot is left: {} outside the image, {} without counts", info.name,
              s.dropped.outside_image, s.dropped.empty_spots);
  normalise(s.counts);

  report.name = info.name;
  report.spots = s.counts.spots();
  report.dropped = s.dropped;
  report.genes = static_cast<std::int64_t>(s.counts.genes.size());
  report.width = image->width();
  report.height = image->height();
  report.labelled = std::ranges::count_if(s.cluster, [](std::int32_t c) { return c >= 0; });
  report.um_per_px = s.um_per_px;
  report.pitch_um = s.info.pitch_um;
  report.niche_window_um = options.niche_window_um > 0 ? options.niche_window_um : 2 * s.info.pitch_um;
  report.niche_radius_um = options.niche_neighbours > 0  ? 0
                           : options.niche_radius_um > 0 ? options.niche_radius_um
                                                         : 1.5 * s.info.pitch_um;
  return s;
}

std::vector<std::int32_t> match_genes(const Slide& slide, const GeneList& list, PreparedSlide& report) {
  std::vector<std::int32_t> to_list = list.match(slide.counts.genes);
  report.genes_found = std::ranges::count_if(to_list, [](std::int32_t g) { return g >= 0; });
  if (report.genes_found == 0)
    fail_data("prepare",
              "slide {}: none of the {} genes of the list (first: {}) is among its {} genes (first: {}); are "
              "species, or symbols and Ensembl ids, mixed?",
              slide.info.name, list.size(), list.names().front(), slide.counts.genes.size(),
              slide.counts.genes.front());
  return to_list;
}

void write_slide(PackWriter& writer, std::int64_t first, std::int32_t slide_index, const Slide& slide,
                 const GeneList& list, bool with_cluster, const PrepareOptions& options, PreparedSlide& report) {
  const std::vector<std::int32_t> to_list = match_genes(slide, list, report);
  const Neighbours niche = options.niche_neighbours > 0
                               ? nearest_neighbours(slide.x, slide.y, options.niche_neighbours)
                               : neighbours_within(slide.x, slide.y, report.niche_radius_um / slide.um_per_px);
  const auto image = open_image(slide.info.image_path);
  const Windows windows = windows_of(slide, options, report, *image);
  Colour background{};
  if (report.padded_spot + report.padded_niche > 0) background = estimate_background(image->sample());
  log::debug("[prepare] {}: {} of {} x {} px, background {} {} {}, spot window {:.1f} px", slide.info.name,
             image->format(), image->width(), image->height(), background[0], background[1], background[2],
             options.spot_window_um / slide.um_per_px);

  const std::int64_t n = slide.counts.spots(), genes = list.size();
  const std::int64_t spot_bytes = std::int64_t{3} * options.spot_image_px * options.spot_image_px;
  const std::int64_t niche_bytes = std::int64_t{3} * options.niche_image_px * options.niche_image_px;
  Cropper crop;
  for (std::int64_t begin = 0; begin < n; begin += kBatch) {
    const std::int64_t rows = std::min(kBatch, n - begin);
    PackRows out;
    out.slide.assign(at(rows), slide_index);
    out.spot_image.resize(at(rows * spot_bytes));
    out.niche_image.resize(at(rows * niche_bytes));
    out.spot_gene.resize(at(rows * genes));
    out.niche_gene.resize(at(rows * genes));
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t i = begin + r;
      out.name.push_back(slide.spot_name[at(i)]);
      out.xy.insert(out.xy.end(), {slide.x[at(i)], slide.y[at(i)]});
      out.array_row.push_back(slide.array_row[at(i)]);
      out.array_col.push_back(slide.array_col[at(i)]);
      if (with_cluster) out.cluster.push_back(slide.cluster[at(i)]);
      const std::span<float> spot_gene(out.spot_gene), niche_gene(out.niche_gene);
      spot_expression(slide.counts, i, to_list, spot_gene.subspan(at(r * genes), at(genes)));
      mean_expression(slide.counts, niche.of(i), to_list, niche_gene.subspan(at(r * genes), at(genes)));
      // spots come by y, so that no later window begins above this one's
      image->release_above(windows.top(at(i)));
      crop(*image, windows.spot[at(i)], background, options.spot_image_px, &out.spot_image[at(r * spot_bytes)]);
      crop(*image, windows.niche[at(i)], background, options.niche_image_px, &out.niche_image[at(r * niche_bytes)]);
    }
    writer.write(first + begin, out);
  }
  image->release_above(image->height());  // damage may show below the last window only, as in a PNG's checksum
}

}  // namespace spn::data
