#include "tests/support/made_pack.h"

#include <fmt/format.h>

#include "data/pack/writer.h"
#include "engine/dist/together.h"

namespace spn::test {
namespace {
// Exact in float16: a multiple of 1/8 below 16.
float gene_value(std::int64_t row, int gene, int salt) {
  return static_cast<float>((row * 7 + gene * 3 + salt) % 128) / 8.0F;
}
std::uint8_t pixel(std::int64_t row, std::int64_t i, int salt) {
  return static_cast<std::uint8_t>((row * 31 + i * 5 + salt) % 251);
}
}  // namespace

MadePack plan_pack(const std::vector<std::int64_t>& rows, data::GeneType type, bool clusters) {
  MadePack p;
  data::PackHeader& h = p.header;
  h.spot_px = 5;
  h.niche_px = 7;
  h.spot_genes = 9;
  h.niche_genes = 11;
  h.gene_type = type;
  h.niche_window_um = 200;
  h.source_format = "made";
  h.source = "tests";
  h.spotniche_version = "0.0.0";
  h.has_cluster = clusters;
  for (std::size_t s = 0; s < rows.size(); ++s) {
    data::PackSlide slide;
    slide.name = fmt::format("slide_{}é", s);  // not ASCII: names are UTF-8
    slide.tissue = s % 2 ? "brain" : "";
    slide.species = "human";
    slide.technology = "Visium";
    slide.um_per_px = 0.5 + static_cast<double>(s);
    slide.pitch_um = 100;
    slide.niche_window_um = 200;
    slide.niche_radius_um = 150;
    slide.first_row = h.spots;
    slide.rows = rows[s];
    slide.padded_windows = static_cast<std::int64_t>(s);
    h.spots += rows[s];
    p.slides.push_back(slide);
  }
  for (int g = 0; g < h.niche_genes; ++g) p.genes.push_back(fmt::format("GENE{}", g));
  return p;
}

data::PackRows made_rows(const MadePack& plan, std::int64_t first, std::int64_t n) {
  const data::PackHeader& h = plan.header;
  data::PackRows r;
  for (std::int64_t row = first; row < first + n; ++row) {
    std::size_t s = 0;
    while (row >= plan.slides[s].first_row + plan.slides[s].rows) ++s;
    r.name.push_back(fmt::format("{}_{}x{}", plan.slides[s].name, row / 10, row % 10));
    r.slide.push_back(static_cast<std::int32_t>(s));
    r.xy.push_back(0.25 * static_cast<double>(row));
    r.xy.push_back(1000.5 - static_cast<double>(row));
    r.array_row.push_back(static_cast<std::int32_t>(row / 10));
    r.array_col.push_back(static_cast<std::int32_t>(row % 10));
    for (std::int64_t i = 0; i < 3 * h.spot_px * h.spot_px; ++i) r.spot_image.push_back(pixel(row, i, 0));
    for (std::int64_t i = 0; i < 3 * h.niche_px * h.niche_px; ++i) r.niche_image.push_back(pixel(row, i, 100));
    for (int g = 0; g < h.spot_genes; ++g) r.spot_gene.push_back(gene_value(row, g, 0));
    for (int g = 0; g < h.niche_genes; ++g) r.niche_gene.push_back(gene_value(row, g, 40));
    if (h.has_cluster) r.cluster.push_back(static_cast<std::int32_t>(row % 4) - 1);
  }
  return r;
}

void write_pack(dist::Comm& comm, const std::string& path, const MadePack& plan) {
  data::PackWriter writer(comm, path, plan.header);
  std::vector<data::PackSlide> mine;
  dist::together(comm, "write_pack", [&] {
    for (std::size_t s = 0; s < plan.slides.size(); ++s) {
      if (static_cast<int>(s) % comm.size() != comm.rank()) continue;
      const data::PackSlide& slide = plan.slides[s];
      // in two pieces: a slide need not fit in memory
      const std::int64_t half = slide.rows / 2;
      writer.write(slide.first_row, made_rows(plan, slide.first_row, half));
      writer.write(slide.first_row + half, made_rows(plan, slide.first_row + half, slide.rows - half));
      mine.push_back(slide);
    }
  });
  writer.finish(mine, plan.genes);
}

}  // namespace spn::test
