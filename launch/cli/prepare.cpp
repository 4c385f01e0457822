// `spotniche prepare`: slides on disk → a pack, and a summary of all that was left out or filled in.
#include "data/prepare/prepare.h"

#include <sys/resource.h>

#include <cstdio>
#include <iostream>

#include "data/readers/reader.h"
#include "engine/core/check.h"
#include "launch/cli/command.h"
#include "launch/cli/options.h"
#include "launch/cli/signals.h"
#include "spotniche_version.h"

namespace spn::cli {
namespace {

double max_rss_mib() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return static_cast<double>(use.ru_maxrss) / 1024;
}

void print_report(const data::PrepareReport& report, const data::PrepareOptions& o, double rss_mib) {
  std::int64_t padded_spot = 0, padded_niche = 0;
  data::Dropped all;
  for (const data::PreparedSlide& s : report.slides) {
    const data::Dropped& d = s.dropped;
    fmt::print("{}: {} spots, image {} x {} px, {:.4f} um/px (pitch {:g} um), niche {:g} um, {} of {} genes found",
               s.name, s.spots, s.width, s.height, s.um_per_px, s.pitch_um, s.niche_window_um, s.genes_found,
               report.genes.size());
    if (s.labelled > 0) fmt::print(", {} labelled", s.labelled);
    fmt::print("\n");
    const auto note = [](std::int64_t n, const char* what) {
      if (n > 0) fmt::print("  {} {}\n", n, what);
    };
    note(d.only_in_coordinates, "spots dropped: in the coordinates only");
    note(d.only_in_counts, "spots dropped: in the counts only");
    note(d.outside_image, "spots dropped: centre outside the image");
    note(d.empty_spots, "spots dropped: no counts");
    note(d.duplicate_genes, "gene columns added to an earlier one of the same gene");
    note(d.empty_counts, "empty counts read as 0");
    note(s.padded_spot, "spot windows leave the image: padded with the background");
    note(s.padded_niche, "niche windows leave the image: padded with the background");
    all.only_in_coordinates += d.only_in_coordinates;
    all.only_in_counts += d.only_in_counts;
    all.outside_image += d.outside_image;
    all.empty_spots += d.empty_spots;
    padded_spot += s.padded_spot;
    padded_niche += s.padded_niche;
  }
  fmt::print(
      "{}: {} slides, {} spots, {} genes; dropped {} without counts row, {} without coordinates, {} outside the "
      "image, {} empty; padded {} spot and {} niche windows\n",
      o.output, report.slides.size(), report.spots, report.genes.size(), all.only_in_coordinates, all.only_in_counts,
      all.outside_image, all.empty_spots, padded_spot, padded_niche);
  fmt::print("read in {:.1f} s, windows and pack in {:.1f} s, at most {:.0f} MiB a rank\n", report.read_seconds,
             report.write_seconds, rss_mib);
}

}  // namespace

int run_prepare(dist::Comm& world, const std::vector<std::string>& args) {
  data::PrepareOptions o;
  std::string gene_type = "f32";
  Options table("prepare", "Makes a pack (one row a spot-niche pair) from slides on disk.");
  table.section("From and to");
  table.add("format", &o.format, "layout of the input");
  table.choices("format", data::reader_formats());
  table.add("input", &o.input, "folder of the data set (the one that holds ST/, Visium/, VisiumHD/)");
  table.add("slides", &o.slides, "names or globs of slides, also parted by commas; default: all");
  table.add("output", &o.output, "pack to write (.h5)");
  table.add("force", &o.force, "replace an existing output");
  table.section("Genes");
  table.add("gene-list", &o.gene_list,
            "a pack whose genes to take (so that a model trained on it fits), or a file of gene names, one a line");
  table.add("gene-count", &o.gene_count,
            "without a list: so many genes of highest variance of log1p(1e4 x / sum(x)) over all spots of the slides");
  table.add("gene-presence", &o.gene_presence, "of the genes in at least this share of the slides");
  table.add("gene-type", &gene_type, "how gene vectors are stored");
  table.choices("gene-type", {"f32", "f16"});
  table.section("Windows");
  table.add("spot-window-um", &o.spot_window_um, "side of the spot window, um");
  table.add("spot-image-px", &o.spot_image_px, "its side in the pack, px");
  table.add("niche-window-um", &o.niche_window_um, "side of the niche window, um; 0: twice the array's pitch");
  table.add("niche-image-px", &o.niche_image_px, "its side in the pack, px");
  table.add("niche-radius-um", &o.niche_radius_um, "spots this near are the niche; 0: 1.5 times the pitch");
  table.add("niche-neighbours", &o.niche_neighbours, "k nearest spots are the niche instead; 0: by radius");
  table.add("pitch-um", &o.pitch_um, "distance between spots; 0: by technology (Visium 100, ST 200)");
  table.require("input");
  table.require("output");
  if (!table.parse(args, std::cout)) return exit_ok;
  if (table.given("gene-list") && table.given("gene-count"))
    fail_usage("prepare", "--gene-list and --gene-count exclude each other; give one of them");
  if (table.given("gene-list") && table.given("gene-presence"))
    fail_usage("prepare",
               "--gene-presence chooses among variable genes; a --gene-list is taken as it is: leave one out");
  o.gene_type = gene_type == "f16" ? data::GeneType::f16 : data::GeneType::f32;
  o.version = SPN_VERSION;
  o.stop_requested = [] { return stop_signal() != 0; };

  const data::PrepareReport report = data::prepare(world, o);
  double rss = max_rss_mib();
  world.all_reduce(host_view(&rss, {1}), dist::ReduceOp::max);
  if (world.rank() == 0) print_report(report, o, rss);
  return exit_ok;
}

}  // namespace spn::cli
