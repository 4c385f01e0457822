#include "data/genes/vocabulary.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/core/text.h"

namespace spn::data {
namespace {

bool digits(std::string_view s) {
  return !s.empty() && std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
}

// ENS + species letters + G + 11 digits, as Ensembl writes stable gene ids.
bool is_ensembl_gene(std::string_view s) {
  if (!s.starts_with("ENS")) return false;
  const std::size_t g = s.find_first_of("0123456789");
  return g != std::string_view::npos && g >= 4 && s[g - 1] == 'G' && s.size() - g == 11 && digits(s.substr(g));
}

struct Renamed {
  std::string_view stem;
  int k;
};

// `X.k` with k ≥ 1 and no leading zero.
std::optional<Renamed> renamed(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  const std::string_view tail = name.substr(dot + 1);
  int k = 0;
  if (!digits(tail) || tail.front() == '0' || tail.size() > 6) return std::nullopt;
  std::from_chars(tail.data(), tail.data() + tail.size(), k);
  return Renamed{name.substr(0, dot), k};
}

}  // namespace

std::string canonical_gene(std::string_view name) {
  const std::string_view stem = name.substr(0, name.find('.'));
  return std::string(is_ensembl_gene(stem) ? stem : name);
}

GeneColumns merge_gene_columns(const std::vector<std::string>& names) {
  std::vector<std::string> canonical;
  canonical.reserve(names.size());
  for (const std::string& raw : names) canonical.push_back(canonical_gene(raw));
  const std::unordered_set<std::string> all(canonical.begin(), canonical.end());
  const auto is_rename = [&](const Renamed& r) {
    const std::string stem(r.stem);
    if (!all.contains(stem)) return false;
    for (int k = 1; k < r.k; ++k)
      if (!all.contains(stem + '.' + std::to_string(k))) return false;
    return true;
  };

  GeneColumns out;
  out.of_column.reserve(names.size());
  std::unordered_map<std::string, std::int32_t> index;
  for (const std::string& full : canonical) {
    const auto r = renamed(full);
    const std::string name = r && is_rename(*r) ? std::string(r->stem) : full;
    const auto [it, fresh] = index.try_emplace(name, static_cast<std::int32_t>(out.genes.size()));
    if (fresh)
      out.genes.push_back(name);
    else
      ++out.merged;
    out.of_column.push_back(it->second);
  }
  return out;
}

GeneList::GeneList(std::vector<std::string> canonical_names) : names_(std::move(canonical_names)) {
  for (std::size_t i = 0; i < names_.size(); ++i)
    check(index_.try_emplace(names_[i], static_cast<std::int32_t>(i)).second, "gene list", "{} is in it twice",
          names_[i]);
}

GeneList GeneList::from_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail_data("gene list", "cannot open {}: the file is missing or unreadable", path);
  std::vector<std::string> names;
  std::unordered_map<std::string, std::int64_t> seen;
  std::string line;
  for (std::int64_t row = 1; std::getline(file, line); ++row) {
    const std::string_view text = row == 1 ? without_bom(line) : line;
    const std::size_t b = text.find_first_not_of(" \t\r"), e = text.find_last_not_of(" \t\r");
    if (b == std::string::npos || text[b] == '#') continue;
    std::string name = canonical_gene(text.substr(b, e - b + 1));
    require_utf8("gene list", path, row, name);
    const auto [it, fresh] = seen.try_emplace(name, row);
    if (!fresh)
      fail_data("gene list", "{}, row {}: {} is already in row {}; expected each gene once", path, row, name,
                it->second);
    names.push_back(std::move(name));
  }
  if (names.empty()) fail_data("gene list", "{} names no gene; expected one name a line", path);
  return GeneList(std::move(names));
}

std::vector<std::int32_t> GeneList::match(const std::vector<std::string>& slide_genes) const {
  std::vector<std::int32_t> out(slide_genes.size(), -1);
  for (std::size_t i = 0; i < slide_genes.size(); ++i)
    if (const auto it = index_.find(slide_genes[i]); it != index_.end()) out[i] = it->second;
  return out;
}

}  // namespace spn::data
