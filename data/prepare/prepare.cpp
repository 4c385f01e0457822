// Two passes: the first reads every slide (how many rows, which genes), the second cuts windows and writes rows. Counts
// stay in memory between them as far as cache_bytes goes.
#include "data/prepare/prepare.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>

#include "data/genes/hvg.h"
#include "data/pack/reader.h"
#include "data/prepare/plan.h"
#include "data/prepare/slide_rows.h"
#include "engine/core/check.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"

namespace spn::data {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

void check_options(const PrepareOptions& o) {
  const auto positive = [](double v, const char* name) {
    if (!(v > 0)) fail_usage("prepare", "--{}: expected a number above 0, got {}", name, v);
  };
  const auto not_negative = [](double v, const char* name) {
    if (!(v >= 0)) fail_usage("prepare", "--{}: expected 0 (by the array's pitch) or more, got {}", name, v);
  };
  positive(o.spot_window_um, "spot-window-um");
  positive(o.spot_image_px, "spot-image-px");
  positive(o.niche_image_px, "niche-image-px");
  not_negative(o.niche_window_um, "niche-window-um");
  not_negative(o.niche_radius_um, "niche-radius-um");
  not_negative(static_cast<double>(o.niche_neighbours), "niche-neighbours");
  not_negative(o.pitch_um, "pitch-um");
  if (o.niche_radius_um > 0 && o.niche_neighbours > 0)
    fail_usage("prepare", "--niche-radius-um and --niche-neighbours exclude each other; give one of them");
  if (o.gene_list.empty()) positive(static_cast<double>(o.gene_count), "gene-count");
  if (!(o.gene_presence > 0 && o.gene_presence <= 1))
    fail_usage("prepare", "--gene-presence: expected a share of the slides in (0, 1], got {}", o.gene_presence);
}

void check_output(const PrepareOptions& o) {
  std::error_code none;
  if (o.output.empty()) fail_usage("prepare", "--output: expected the name of the pack to write");
  if (fs::is_directory(o.output, none)) fail_usage("prepare", "--output {}: expected a file, got a folder", o.output);
  if (fs::exists(o.output, none) && !o.force)
    fail_usage("prepare", "--output {} exists; give another name, or --force to replace it", o.output);
  const fs::path folder = fs::path(o.output).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, none))
    fail_usage("prepare", "--output {}: there is no folder {}; make it first", o.output, folder.string());
}

// Names from a pack (told by the first bytes of HDF5) or from a text file.
GeneList read_gene_list(const std::string& path) {
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "\x89HDF" ? GeneList(PackReader(path).genes())
                                                            : GeneList::from_file(path);
}

std::int64_t bytes_of(const Counts& c) {
  return static_cast<std::int64_t>(c.value.size() * (sizeof c.value[0] + sizeof c.column[0]) + c.genes.size() * 48);
}

// The slides and what is known of them; every rank fills the entries of its own.
class Preparation {
 public:
  Preparation(dist::Comm& comm, const PrepareOptions& options) : comm_(comm), options_(options) {}

  PrepareReport run() {
    const auto start = Clock::now();
    dist::together(comm_, "prepare", [&] { choose_slides(); });
    log::info("[prepare] {} slides of {} on {} rank(s)", slides_.size(), options_.input, comm_.size());
    dist::together(comm_, "prepare", [&] { read_slides(); });
    const GeneList genes = choose_genes();
    share_report();
    double times[2] = {seconds_since(start), 0};
    const auto written = Clock::now();
    write_pack(genes);
    times[1] = seconds_since(written);
    comm_.all_reduce(host_view(times, {2}), dist::ReduceOp::max);
    report_.read_seconds = times[0];
    report_.write_seconds = times[1];
    report_.genes = genes.names();
    return std::move(report_);
  }

 private:
  bool mine(std::size_t i) const { return owner_[i] == comm_.rank(); }

  void check_stop() const {
    if (options_.stop_requested && options_.stop_requested())
      fail("prepare", "stopped by a signal; nothing is left at {}", options_.output);
  }

  void choose_slides() {
    check_options(options_);
    check_output(options_);
    if (!options_.gene_list.empty()) list_.emplace(read_gene_list(options_.gene_list));
    reader_ = open_reader(options_.format, options_.input, options_.pitch_um);
    slides_ = select_slides(reader_->list(), options_.slides);
    std::vector<std::int64_t> bytes;
    for (const SlideInfo& s : slides_) {
      reader_->require_files(s);
      bytes.push_back(s.bytes);
    }
    owner_ = spread(bytes, comm_.size());
    mine_ = std::ranges::count(owner_, comm_.rank());
    report_.slides.resize(slides_.size());
    cache_.resize(slides_.size());
  }

  void progress(const char* what, std::int64_t done, const PreparedSlide& s) const {
    log::info("[prepare] {} {} of {}{}: {}, {} spots", what, done, mine_, comm_.size() > 1 ? " of this rank" : "",
              s.name, s.spots);
  }

  void read_slides() {
    std::int64_t kept = 0, done = 0;
    for (std::size_t i = 0; i < slides_.size(); ++i) {
      if (!mine(i)) continue;
      check_stop();
      PreparedSlide& report = report_.slides[i];
      Slide s = load_slide(*reader_, slides_[i], options_, report);
      if (list_)
        match_genes(s, *list_, report);
      else
        variable_.add(s.counts);
      progress("read", ++done, report);
      const std::int64_t bytes = bytes_of(s.counts);
      if (kept + bytes > options_.cache_bytes) continue;  // read again when its rows are written
      kept += bytes;
      cache_[i].emplace(std::move(s));
    }
  }

  GeneList choose_genes() const {
    if (list_) return *list_;
    return GeneList(variable_.choose(comm_, options_.gene_count, options_.gene_presence));
  }

  // All ranks' entries on all ranks: an entry is zero on the ranks that do not own its slide.
  void share_report() {
    constexpr std::int64_t kWhole = 14, kReal = 4;
    const auto n = static_cast<std::int64_t>(slides_.size());
    std::vector<std::int64_t> whole(static_cast<std::size_t>(n * kWhole));
    std::vector<double> real(static_cast<std::size_t>(n * kReal));
    const auto each = [&](auto&& move) {
      for (std::size_t i = 0; i < slides_.size(); ++i) {
        PreparedSlide& s = report_.slides[i];
        Dropped& d = s.dropped;
        std::int64_t* w = &whole[i * kWhole];
        for (std::int64_t* v : {&s.spots, &s.genes, &s.genes_found, &s.width, &s.height, &s.labelled, &s.padded_spot,
                                &s.padded_niche, &d.only_in_coordinates, &d.only_in_counts, &d.empty_spots,
                                &d.duplicate_genes, &d.empty_counts, &d.outside_image})
          move(*v, *w++);
        double* r = &real[i * kReal];
        for (double* v : {&s.um_per_px, &s.pitch_um, &s.niche_window_um, &s.niche_radius_um}) move(*v, *r++);
      }
    };
    each([](auto& entry, auto& sent) { sent = entry; });
    for (std::size_t i = 0; i < slides_.size(); ++i)
      if (!mine(i)) {
        std::fill_n(&whole[i * kWhole], kWhole, std::int64_t{0});
        std::fill_n(&real[i * kReal], kReal, 0.0);
      }
    comm_.all_reduce(host_view(whole.data(), {n, kWhole}));
    comm_.all_reduce(host_view(real.data(), {n, kReal}));
    each([](auto& entry, auto& sent) { entry = sent; });
    for (std::size_t i = 0; i < slides_.size(); ++i) report_.slides[i].name = slides_[i].name;
  }

  PackHeader header(const GeneList& genes) {
    PackHeader h;
    for (const PreparedSlide& s : report_.slides) {
      report_.spots += s.spots;
      h.has_cluster = h.has_cluster || s.labelled > 0;
    }
    h.spots = report_.spots;
    h.spot_px = options_.spot_image_px;
    h.niche_px = options_.niche_image_px;
    h.spot_genes = h.niche_genes = static_cast<int>(genes.size());
    h.gene_type = options_.gene_type;
    h.spot_window_um = options_.spot_window_um;
    h.niche_window_um = options_.niche_window_um;
    h.niche_radius_um = options_.niche_radius_um;
    h.niche_neighbours = options_.niche_neighbours;
    h.source_format = options_.format;
    h.source = options_.input;
    h.spotniche_version = options_.version;
    return h;
  }

  void write_pack(const GeneList& genes) {
    const PackHeader h = header(genes);
    PackWriter writer(comm_, options_.output, h);
    std::vector<PackSlide> tables;
    dist::together(comm_, "prepare", [&] {
      std::int64_t first = 0, done = 0;
      for (std::size_t i = 0; i < slides_.size(); first += report_.slides[i].spots, ++i) {
        if (!mine(i)) continue;
        check_stop();
        PreparedSlide& report = report_.slides[i];
        const std::int64_t planned = report.spots;
        Slide s = cache_[i] ? std::move(*cache_[i]) : load_slide(*reader_, slides_[i], options_, report);
        cache_[i].reset();
        if (report.spots != planned)
          fail_data("prepare", "slide {}: its files changed while they were read ({} spots, then {})", report.name,
                    planned, report.spots);
        write_slide(writer, first, static_cast<std::int32_t>(i), s, genes, h.has_cluster, options_, report);
        tables.push_back({s.info.name, s.info.tissue, s.info.species, s.info.technology, s.um_per_px, s.info.pitch_um,
                          report.niche_window_um, report.niche_radius_um, first, report.spots,
                          report.padded_spot + report.padded_niche, json_text(nlohmann::json(s.cluster_names))});
        progress("wrote", ++done, report);
      }
    });
    share_report();
    writer.finish(tables, genes.names());
  }

  dist::Comm& comm_;
  const PrepareOptions& options_;
  std::unique_ptr<SlideReader> reader_;
  std::optional<GeneList> list_;
  VariableGenes variable_;
  std::vector<SlideInfo> slides_;
  std::vector<int> owner_;
  std::int64_t mine_ = 0;
  std::vector<std::optional<Slide>> cache_;
  PrepareReport report_;
};

}  // namespace

PrepareReport prepare(dist::Comm& comm, const PrepareOptions& options) { return Preparation(comm, options).run(); }

}  // namespace spn::data
