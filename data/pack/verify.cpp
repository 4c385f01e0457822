#include "data/pack/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace spn::data {
namespace {

// Counts rows by kind of problem and remembers the first of each.
class Problems {
 public:
  void add(const std::string& what, std::int64_t row, const std::string& detail) {
    auto found = std::find_if(list_.begin(), list_.end(), [&](const Entry& e) { return e.what == what; });
    if (found == list_.end()) found = list_.insert(list_.end(), {what, detail, row, 0});
    ++found->rows;
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    for (const Entry& e : list_)
      out.push_back(fmt::format("{}: {} time{}, first at row {} ({})", e.what, e.rows, e.rows == 1 ? "" : "s", e.first,
                                e.detail));
    return out;
  }

 private:
  struct Entry {
    std::string what, detail;
    std::int64_t first, rows;
  };
  std::vector<Entry> list_;
};

void check_names(const PackReader& pack, Problems& problems) {
  const auto names = pack.read_names();
  const auto index = pack.read_slide_index();
  const auto& slides = pack.slides();
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t row = 0; row < names.size(); ++row) {
    const auto at = static_cast<std::int64_t>(row);
    if (names[row].empty()) problems.add("empty spot name", at, "no text");
    const auto [other, fresh] = seen.emplace(names[row], row);
    if (!fresh) problems.add("spot name used twice", at, fmt::format("'{}', also row {}", names[row], other->second));
    const bool known = index[row] >= 0 && static_cast<std::size_t>(index[row]) < slides.size();
    if (!known) {
      problems.add("slide index outside the table", at, fmt::format("{} of {} slides", index[row], slides.size()));
      continue;
    }
    const PackSlide& slide = slides[static_cast<std::size_t>(index[row])];
    if (at < slide.first_row || at >= slide.first_row + slide.rows)
      problems.add(
          "row outside its slide's block", at,
          fmt::format("slide '{}' has rows [{}, {})", slide.name, slide.first_row, slide.first_row + slide.rows));
    if (names[row].rfind(slide.name + "_", 0) != 0)
      problems.add("spot name that does not begin with its slide's", at,
                   fmt::format("'{}' in '{}'", names[row], slide.name));
  }
}

void check_tables(const PackReader& pack, Problems& problems) {
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t g = 0; g < pack.genes().size(); ++g) {
    const auto [other, fresh] = seen.emplace(pack.genes()[g], g);
    if (!fresh || pack.genes()[g].empty())
      problems.add("gene name empty or used twice", static_cast<std::int64_t>(g), "'" + pack.genes()[g] + "'");
  }
  seen.clear();
  for (const PackSlide& s : pack.slides()) {
    if (!seen.emplace(s.name, 0).second) problems.add("slide name used twice", s.first_row, s.name);
    if (!(s.um_per_px > 0) || !std::isfinite(s.um_per_px))
      problems.add("slide without a positive um_per_px", s.first_row, fmt::format("{} in '{}'", s.um_per_px, s.name));
  }
  const auto xy = pack.read_xy();
  for (std::size_t i = 0; i < xy.size(); ++i)
    if (!std::isfinite(xy[i]))
      problems.add("coordinate that is not finite", static_cast<std::int64_t>(i / 2), fmt::format("{}", xy[i]));
  const auto at_least_minus_one = [&](const std::vector<std::int32_t>& values, const char* what) {
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i] < -1) problems.add(what, static_cast<std::int64_t>(i), fmt::format("{}", values[i]));
  };
  at_least_minus_one(pack.read_clusters(), "cluster below -1");
  at_least_minus_one(pack.read_array(false), "array_row below -1");
  at_least_minus_one(pack.read_array(true), "array_col below -1");
}

void check_values(const char* name, const std::vector<float>& values, std::int64_t row, double most,
                  Problems& problems) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool finite = std::isfinite(values[i]);
    if (finite && (most < 0 || (values[i] >= 0 && static_cast<double>(values[i]) <= most))) continue;
    problems.add(fmt::format("{} {}", name, finite ? "outside its range" : "not finite"), row,
                 fmt::format("{} in column {}", values[i], i));
    return;  // one a row
  }
}

bool all_zero(const std::vector<std::uint8_t>& image) {
  return std::all_of(image.begin(), image.end(), [](std::uint8_t v) { return v == 0; });
}

// Present, complete, finite.
void check_features(const PackReader& pack, FeatureKind kind, Problems& problems) {
  const auto& info = pack.features(kind);
  if (!info) return;
  if (!info->complete())
    problems.add(fmt::format("{} features incomplete", name_of(kind)), 0,
                 fmt::format("{}; go on with spotniche encode", info->progress()));
  std::vector<float> values(static_cast<std::size_t>(info->width));
  PackReader::Row out;
  (kind == FeatureKind::niche_image ? out.niche_feature : out.spot_feature) = values.data();
  for (std::int64_t row = 0; row < pack.header().spots; ++row) {
    pack.read_row(row, out);
    check_values((std::string(name_of(kind)) + "_feature").c_str(), values, row, -1, problems);
  }
}

}  // namespace

std::int64_t row_bytes(const PackHeader& h) {
  const std::int64_t value = h.gene_type == GeneType::f16 ? 2 : 4;
  return std::int64_t{3} * h.spot_px * h.spot_px + std::int64_t{3} * h.niche_px * h.niche_px +
         value * (h.spot_genes + h.niche_genes);
}

std::vector<std::string> verify_pack(const PackReader& pack) {
  const PackHeader& h = pack.header();
  Problems problems;
  check_names(pack, problems);
  check_tables(pack, problems);
  std::vector<std::uint8_t> spot(static_cast<std::size_t>(3 * h.spot_px) * static_cast<std::size_t>(h.spot_px)),
      niche(static_cast<std::size_t>(3 * h.niche_px) * static_cast<std::size_t>(h.niche_px));
  std::vector<float> spot_gene(static_cast<std::size_t>(h.spot_genes)),
      niche_gene(static_cast<std::size_t>(h.niche_genes));
  // log1p(1e4) is reached by a spot with a single gene; 0.01 covers float16. Other normalisations: only finiteness. A
  // spot vector that is not over the gene list is an embedding, of any range.
  const double most = h.normalisation.rfind("log1p(1e4", 0) == 0 ? std::log1p(1e4) + 0.01 : -1;
  for (std::int64_t row = 0; row < h.spots; ++row) {
    pack.read_row(row, {spot.data(), niche.data(), spot_gene.data(), niche_gene.data()});
    check_values("spot_gene", spot_gene, row, h.spot_genes == h.niche_genes ? most : -1, problems);
    check_values("niche_gene", niche_gene, row, most, problems);
    if (all_zero(spot)) problems.add("spot image all zero", row, "no tissue there, or never written");
    if (all_zero(niche)) problems.add("niche image all zero", row, "no tissue there, or never written");
  }
  for (const FeatureKind kind : kFeatureKinds) check_features(pack, kind, problems);
  return problems.lines();
}

}  // namespace spn::data
