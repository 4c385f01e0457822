#include "data/readers/stimage_counts.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "data/genes/vocabulary.h"
#include "data/readers/csv.h"
#include "engine/core/check.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/core/text.h"

namespace spn::data {
namespace {

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool is_missing(std::string_view text) {
  const std::string t = lower(text);
  return t.empty() || t == "nan" || t == "na" || t == "null" || t == "none";
}

// The text, its bytes that are no UTF-8 replaced and told.
std::string as_utf8(const std::string& path, const std::string& text) {
  std::string safe = valid_utf8(text);
  if (safe != text) log::warn("[annotation] {}: label '{}' is not UTF-8", path, safe);
  return safe;
}

std::optional<std::int32_t> whole(std::string_view s) {
  std::int32_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc{} || end != s.data() + s.size() || v < 0) return std::nullopt;
  return v;
}

struct ArrayPlace {
  std::int32_t row = -1, column = -1;
};

// ST names are column x row ("10x13"); Visium HD bins s_{size}um_{row}_{column}-1; Visium barcodes say nothing.
ArrayPlace array_place(std::string_view native) {
  if (const std::size_t cross = native.find('x'); cross != std::string_view::npos) {
    const auto column = whole(native.substr(0, cross)), row = whole(native.substr(cross + 1));
    if (row && column) return {*row, *column};
  }
  if (native.starts_with("s_")) {
    const std::size_t um = native.find("um_");
    const std::size_t bar = um == std::string_view::npos ? um : native.find('_', um + 3);
    if (bar != std::string_view::npos) {
      const std::string_view tail = native.substr(bar + 1);
      const auto row = whole(native.substr(um + 3, bar - um - 3)), column = whole(tail.substr(0, tail.find('-')));
      if (row && column) return {*row, *column};
    }
  }
  return {};
}

// Streams the dense table into sparse rows; holds one row of non-zeros besides the result.
class CountsSink final : public CsvSink {
 public:
  CountsSink(const std::string& path, const Coordinates& where, Slide& slide)
      : path_(path), where_(where), slide_(slide) {
    slide_.counts.row_begin = {0};
  }

  void cell(std::int64_t row, std::int64_t column, std::string_view text) override {
    if (row == 1)
      header_cell(column, text);
    else if (column == 0)
      begin_row(row, text);
    else if (wanted_ && text != "0")
      count(row, column, text);
  }

  void end_row(std::int64_t row) override {
    if (row == 1) {
      end_header();
      return;
    }
    if (!wanted_) return;
    if (columns_.merged > 0) merge_row();
    for (const auto& [gene, value] : row_) {
      slide_.counts.column.push_back(gene);
      slide_.counts.value.push_back(value);
    }
    slide_.counts.row_begin.push_back(static_cast<std::int64_t>(slide_.counts.column.size()));
  }

  void finish() {
    if (seen_.empty()) fail_data("counts", "{} has no spots; fetch it again", path_);
    if (slide_.spot_name.empty())
      fail_data("counts",
                "{}: none of its {} spots (first: '{}') is among the {} of the coordinates; the two files "
                "belong to different slides",
                path_, seen_.size(), first_, where_.row.size());
    slide_.dropped.only_in_counts = static_cast<std::int64_t>(seen_.size() - slide_.spot_name.size());
    slide_.dropped.only_in_coordinates = static_cast<std::int64_t>(where_.row.size() - slide_.spot_name.size());
    slide_.dropped.duplicate_genes = columns_.merged;
    if (fractional_ > 0)
      log::warn("[counts] {}: {} counts are not whole numbers; raw counts are expected", path_, fractional_);
  }

 private:
  void header_cell(std::int64_t column, std::string_view text) {
    if (column == 0) return;
    if (text.empty()) fail_data("counts", "{}, row 1: column {} has no gene name", path_, column + 1);
    require_utf8("counts", path_, 1, text);
    names_.emplace_back(text);
  }

  void end_header() {
    if (names_.empty())
      fail_data("counts", "{}, row 1: expected spot ids and genes in comma-separated columns, got one column", path_);
    columns_ = merge_gene_columns(names_);
    slide_.counts.genes = columns_.genes;
  }

  void begin_row(std::int64_t row, std::string_view id) {
    std::string native = native_spot(slide_.info.name, std::string(id));
    if (native.empty()) fail_data("counts", "{}, row {}: the spot has no name", path_, row);
    require_utf8("counts", path_, row, native);
    if (first_.empty()) first_ = native;
    const auto [it, fresh] = seen_.try_emplace(native, row);
    if (!fresh)
      fail_data("counts", "{}, row {}: spot '{}' is already in row {}; expected each spot once", path_, row, id,
                it->second);
    row_.clear();
    const auto place = where_.row.find(native);
    wanted_ = place != where_.row.end();
    if (!wanted_) return;
    const auto p = static_cast<std::size_t>(place->second);
    slide_.x.push_back(where_.x[p]);
    slide_.y.push_back(where_.y[p]);
    const ArrayPlace array = array_place(native);
    slide_.array_row.push_back(array.row);
    slide_.array_col.push_back(array.column);
    slide_.spot_name.push_back(slide_.info.name + '_' + native);
  }

  void count(std::int64_t row, std::int64_t column, std::string_view text) {
    float value = 0;
    if (const auto n = whole(text)) {
      value = static_cast<float>(*n);
    } else if (is_missing(text)) {  // a gene that a panel does not have: pandas writes it empty or as it is told to
      ++slide_.dropped.empty_counts;
    } else {
      const auto v = parse_number(text);
      if (!v || *v < 0 || *v - *v != 0)
        fail_data("counts", "{}, row {}, column {}: expected a count ≥ 0 of gene '{}' in spot '{}', got '{}'", path_,
                  row, column + 1, names_[static_cast<std::size_t>(column - 1)], slide_.spot_name.back(), text);
      value = static_cast<float>(*v);
      if (*v != std::floor(*v)) ++fractional_;
    }
    if (value > 0) row_.emplace_back(columns_.of_column[static_cast<std::size_t>(column - 1)], value);
  }

  void merge_row() {
    std::ranges::stable_sort(row_, {}, &std::pair<std::int32_t, float>::first);
    std::size_t to = 0;
    for (std::size_t i = 0; i < row_.size(); ++i) {
      if (to > 0 && row_[to - 1].first == row_[i].first)
        row_[to - 1].second += row_[i].second;
      else
        row_[to++] = row_[i];
    }
    row_.resize(to);
  }

  const std::string& path_;
  const Coordinates& where_;
  Slide& slide_;
  std::vector<std::string> names_;
  GeneColumns columns_;
  std::unordered_map<std::string, std::int64_t> seen_;
  std::string first_;
  std::vector<std::pair<std::int32_t, float>> row_;
  bool wanted_ = false;
  std::int64_t fractional_ = 0;
};

}  // namespace

std::string native_spot(const std::string& slide, const std::string& id) {
  const bool prefixed = id.size() > slide.size() && id.starts_with(slide) && id[slide.size()] == '_';
  return prefixed ? id.substr(slide.size() + 1) : id;
}

Coordinates read_coordinates(const std::string& path, const std::string& slide) {
  const CsvTable table(path);
  const std::int64_t x = table.column("xaxis"), y = table.column("yaxis");
  Coordinates out;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    const std::string native = native_spot(slide, table.at(r, 0));
    if (native.empty()) fail_data("coordinates", "{}, row {}: the spot has no name", path, CsvTable::file_row(r));
    const auto [it, fresh] = out.row.try_emplace(native, r);
    if (!fresh)
      fail_data("coordinates", "{}, row {}: spot '{}' is already in row {}; expected each spot once", path,
                CsvTable::file_row(r), table.at(r, 0), CsvTable::file_row(it->second));
    out.x.push_back(table.number(r, x));
    out.y.push_back(table.number(r, y));
  }
  if (out.x.empty()) fail_data("coordinates", "{} has a header but no spots; fetch it again", path);
  return out;
}

void read_counts(const std::string& path, const Coordinates& coordinates, Slide& slide) {
  CountsSink sink(path, coordinates, slide);
  read_csv(path, sink);
  sink.finish();
}

void read_annotation(const std::string& path, Slide& slide) {
  const CsvTable table(path);
  if (table.header().size() < 2)
    fail_data("annotation", "{}, row 1: expected spot ids and a label column, got one column", path);
  if (table.header().size() > 2)
    log::info("[annotation] {}: the labels are those of column '{}'; {} more are not read", path, table.header()[1],
              table.header().size() - 2);
  std::unordered_map<std::string, std::size_t> spot;
  for (std::size_t i = 0; i < slide.spot_name.size(); ++i) spot.emplace(slide.spot_name[i], i);
  std::vector<std::string> label(slide.spot_name.size());
  std::int64_t unknown = 0;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    const std::string& text = table.at(r, 1);
    if (is_missing(text) || lower(text) == "undetermined" || lower(text) == "exclude") continue;
    const auto it = spot.find(slide.info.name + '_' + native_spot(slide.info.name, table.at(r, 0)));
    if (it == spot.end())
      ++unknown;
    else
      label[it->second] = text;
  }
  if (unknown > 0) log::warn("[annotation] {}: {} labelled spots are not in the slide", path, unknown);

  std::set<std::string> names(label.begin(), label.end());
  names.erase("");
  constexpr double kMaxId = 1e6;
  const bool numeric = std::ranges::all_of(names, [](const std::string& n) {
    const auto v = parse_number(n);
    return v && *v >= 0 && *v < kMaxId && *v == std::floor(*v);
  });
  std::unordered_map<std::string, std::int32_t> id;
  for (const std::string& n : names)
    id[n] = numeric ? static_cast<std::int32_t>(*parse_number(n)) : static_cast<std::int32_t>(id.size());
  if (!numeric)  // numbers name themselves
    for (const std::string& n : names) slide.cluster_names.push_back(as_utf8(path, n));
  for (std::size_t i = 0; i < label.size(); ++i)
    if (!label[i].empty()) slide.cluster[i] = id.at(label[i]);
}

}  // namespace spn::data
