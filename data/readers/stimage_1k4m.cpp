#include "data/readers/stimage_1k4m.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "data/niche/neighbours.h"
#include "data/readers/csv.h"
#include "data/readers/stimage_counts.h"
#include "engine/core/check.h"
#include "engine/core/log.h"
#include "engine/core/text.h"

namespace spn::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTechFolders[] = {"ST", "Visium", "VisiumHD"};
constexpr std::string_view kImageEndings[] = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".btf"};

std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (fs::directory_iterator it(folder, none), end; !none && it != end; it.increment(none))
    names.push_back(it->path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::int64_t bytes_of(const std::string& path) {
  std::error_code none;
  const auto n = fs::file_size(path, none);
  return none ? 0 : static_cast<std::int64_t>(n);
}

Tech tech_from(std::string_view text) {
  std::string t;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)))
      t += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (t == "visium") return Tech::visium;
  if (t == "visiumhd") return Tech::visium_hd;
  if (t == "st" || t == "spatialtranscriptomics") return Tech::st;
  return Tech::other;
}

// Sorts meta_all_gene*.csv by the MMDDYYYY in the name; one without a date is the oldest.
std::string date_key(const std::string& name) {
  std::string d;
  for (const char c : name)
    if (c >= '0' && c <= '9') d += c;
  return d.size() == 8 ? d.substr(4) + d.substr(0, 4) : std::string();
}

// Bin size of Visium HD names s_008um_…; 0 when the name does not say.
double hd_bin_um(const std::string& native) {
  if (!native.starts_with("s_") || native.find("um_") == std::string::npos) return 0;
  return parse_number(native.substr(2, native.find("um_") - 2)).value_or(0);
}

}  // namespace

Stimage1k4m::Stimage1k4m(std::string folder, double pitch_um) : folder_(std::move(folder)), pitch_um_(pitch_um) {
  find_slides();
  read_meta();
}

void Stimage1k4m::find_slides() {
  bool any_folder = false;
  for (const char* tech : kTechFolders) {
    const fs::path base = fs::path(folder_) / tech;
    std::error_code none;
    if (!fs::is_directory(base, none)) continue;
    any_folder = true;
    for (const auto& [sub, ending] : {std::pair<const char*, std::string>{"coord", "_coord.csv"},
                                      std::pair<const char*, std::string>{"gene_exp", "_count.csv"}}) {
      for (const std::string& file : file_names(base / sub)) {
        if (!file.ends_with(ending) || file.size() == ending.size()) continue;
        const std::string name = file.substr(0, file.size() - ending.size());
        const auto [it, fresh] = tech_folder_.try_emplace(name, tech);
        if (!fresh && it->second != tech)
          fail_data("stimage-1k4m", "slide {} is in {}/{} and in {}/{}; expected it once", name, folder_, it->second,
                    folder_, tech);
        Files& f = files_[name];
        f.counts = (base / "gene_exp" / (name + "_count.csv")).string();
        f.coordinates = (base / "coord" / (name + "_coord.csv")).string();
      }
    }
    for (auto& [name, f] : files_) {
      if (tech_folder_.at(name) != tech) continue;
      f.image = (base / "image" / (name + ".png")).string();
      for (const std::string_view ending : kImageEndings) {
        const fs::path p = base / "image" / (name + std::string(ending));
        if (!fs::exists(p, none)) continue;
        f.image = p.string();
        break;
      }
      for (const char* kind : {"_anno.csv", "_cluster.csv"}) {  // the experts' labels before the authors' clusters
        const fs::path p = fs::path(folder_) / "annotation" / (name + kind);
        if (f.annotation.empty() && fs::exists(p, none)) f.annotation = p.string();
      }
    }
  }
  if (!any_folder)
    fail_data("stimage-1k4m",
              "{}: expected a folder with ST/, Visium/ or VisiumHD/ in it, found none; --input is the "
              "folder that holds them",
              folder_);
  if (files_.empty())
    fail_data("stimage-1k4m",
              "{}: no slides; expected {{ST,Visium,VisiumHD}}/coord/{{slide}}_coord.csv and "
              "gene_exp/{{slide}}_count.csv",
              folder_);
}

void Stimage1k4m::read_meta() {
  std::string newest;
  for (const std::string& file : file_names(fs::path(folder_) / "meta"))
    if (file.starts_with("meta_all_gene") && file.ends_with(".csv") &&
        (newest.empty() || date_key(file) > date_key(newest)))
      newest = file;
  if (newest.empty()) {
    log::info("[stimage-1k4m] no {}/meta/meta_all_gene*.csv: technology by folder, tissue and species unknown",
              folder_);
    return;
  }
  const CsvTable table((fs::path(folder_) / "meta" / newest).string());
  const std::int64_t slide = table.column("slide"), tech = table.column("tech");
  const auto species = table.find("species"), tissue = table.find("tissue"), pmid = table.find("pmid");
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    for (const auto& c : {species, tissue})
      if (c) require_utf8("stimage-1k4m", table.path(), CsvTable::file_row(r), table.at(r, *c));
    const auto cell = [&](const std::optional<std::int64_t>& c) { return c ? table.at(r, *c) : std::string(); };
    const bool fresh =
        meta_.try_emplace(table.at(r, slide), Meta{cell(species), cell(tissue), table.at(r, tech), cell(pmid)}).second;
    if (!fresh)
      fail_data("stimage-1k4m", "{}, row {}: slide '{}' is listed twice", table.path(), CsvTable::file_row(r),
                table.at(r, slide));
  }
}

// Visium 100 µm, ST 200 µm, and GSE144239 (PubMed 32579974), an ST array of 110 µm. HD: by the bin in the spot names.
double Stimage1k4m::pitch_of(const std::string& name, Tech tech) const {
  if (pitch_um_ > 0) return pitch_um_;
  const auto meta = meta_.find(name);
  const bool dense_st = name.find("GSE144239") != std::string::npos ||
                        (meta != meta_.end() && parse_number(meta->second.pmid).value_or(0) == 32579974);
  if (tech == Tech::st) return dense_st ? 110 : 200;
  return tech == Tech::visium ? 100 : 0;
}

std::vector<SlideInfo> Stimage1k4m::list() {
  std::vector<SlideInfo> out;
  for (const auto& [name, f] : files_) {
    SlideInfo s;
    s.name = name;
    s.technology = tech_folder_.at(name);
    if (const auto m = meta_.find(name); m != meta_.end()) {
      s.species = m->second.species;
      s.tissue = m->second.tissue;
      if (!m->second.tech.empty()) s.technology = m->second.tech;
    } else if (!meta_.empty()) {
      log::info("[stimage-1k4m] {} is not in the metadata: technology {} by folder", name, s.technology);
    }
    s.tech = tech_from(s.technology);
    s.image_path = f.image;
    s.pitch_um = pitch_of(name, s.tech);
    s.bytes = bytes_of(f.counts) + bytes_of(f.image);
    out.push_back(std::move(s));
  }
  return out;
}

const Stimage1k4m::Files& Stimage1k4m::files(const std::string& slide) const {
  const auto it = files_.find(slide);
  if (it == files_.end()) fail("stimage-1k4m", "no slide '{}' in {}", slide, folder_);
  return it->second;
}

void Stimage1k4m::require_files(const SlideInfo& slide) {
  const Files& f = files(slide.name);
  for (const std::string& path : {f.counts, f.coordinates, f.image}) {
    std::error_code none;
    if (!fs::is_regular_file(path, none))
      fail_data("stimage-1k4m",
                "slide {}: expected {}, which is missing; fetch it, or leave the slide out with "
                "--slides",
                slide.name, path);
  }
}

Slide Stimage1k4m::read(const SlideInfo& info) {
  const Files& f = files(info.name);
  Slide slide;
  slide.info = info;
  const Coordinates where = read_coordinates(f.coordinates, info.name);
  if (slide.info.pitch_um <= 0 && info.tech == Tech::visium_hd)
    slide.info.pitch_um = hd_bin_um(where.row.begin()->first);
  if (slide.info.pitch_um <= 0)
    fail_data("stimage-1k4m", "slide {}: technology '{}' does not say the distance between spots; give --pitch-um",
              info.name, info.technology);
  if (where.x.size() < 2)
    fail_data("stimage-1k4m", "{}: expected at least 2 spots, got {}: µm per px comes from their distance",
              f.coordinates, where.x.size());
  const double step = median_nearest_distance(where.x, where.y);
  if (!(step > 0)) fail_data("stimage-1k4m", "{}: most spots share their coordinates with another one", f.coordinates);
  slide.um_per_px = slide.info.pitch_um / step;
  read_counts(f.counts, where, slide);
  slide.cluster.assign(slide.spot_name.size(), -1);
  if (!f.annotation.empty()) read_annotation(f.annotation, slide);
  return slide;
}

}  // namespace spn::data
