#include "data/genes/hvg.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "engine/core/check.h"

namespace spn::data {
namespace {

// Values are at most log1p(1e4) = 9.3, squares 85: 2^30 leaves room for 2^26 spots at the largest value.
constexpr double kFixed = 0x1p30;

std::int64_t fixed(double v) { return std::llround(v * kFixed); }

// Names of all ranks, sorted, each once.
std::vector<std::string> union_of_names(dist::Comm& comm, const std::string& mine) {
  std::set<std::string, std::less<>> names;
  for (const std::string& part : dist::all_gather_strings(comm, mine)) {
    std::string_view rest = part;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      if (!names.contains(rest.substr(0, end))) names.emplace(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

void VariableGenes::add(const Counts& c) {
  std::vector<double> sum(c.genes.size()), square(c.genes.size());
  for (std::size_t i = 0; i < c.value.size(); ++i) {
    const double v = c.value[i];
    sum[static_cast<std::size_t>(c.column[i])] += v;
    square[static_cast<std::size_t>(c.column[i])] += v * v;
  }
  for (std::size_t g = 0; g < c.genes.size(); ++g) {
    Sums& s = genes_[c.genes[g]];
    s.sum += fixed(sum[g]);
    s.square += fixed(square[g]);
    ++s.slides;
  }
  spots_ += c.spots();
  ++slides_;
}

std::vector<std::string> VariableGenes::choose(dist::Comm& comm, std::int64_t count, double presence) const {
  check(presence > 0 && presence <= 1, "gene choice", "expected a presence in (0, 1], got {}", presence);
  std::string mine;
  for (const auto& [name, sums] : genes_) mine += name + '\n';
  const std::vector<std::string> names = union_of_names(comm, mine);

  // one row a gene: sum, square, slides; the last row holds the totals
  const auto n = static_cast<std::int64_t>(names.size());
  std::vector<std::int64_t> table(static_cast<std::size_t>((n + 1) * 3));
  for (std::int64_t g = 0; g < n; ++g) {
    const auto it = genes_.find(names[static_cast<std::size_t>(g)]);
    if (it == genes_.end()) continue;
    std::int64_t* row = &table[static_cast<std::size_t>(g * 3)];
    row[0] = it->second.sum;
    row[1] = it->second.square;
    row[2] = it->second.slides;
  }
  table[static_cast<std::size_t>(n * 3)] = spots_;
  table[static_cast<std::size_t>(n * 3 + 1)] = slides_;
  comm.all_reduce(host_view(table.data(), {n + 1, 3}));
  const auto spots = static_cast<double>(table[static_cast<std::size_t>(n * 3)]);
  const auto slides = table[static_cast<std::size_t>(n * 3 + 1)];
  const auto needed = static_cast<std::int64_t>(std::ceil(presence * static_cast<double>(slides) - 1e-9));

  struct Candidate {
    double variance;
    const std::string* name;
  };
  std::vector<Candidate> candidates;
  for (std::int64_t g = 0; g < n; ++g) {
    const std::int64_t* row = &table[static_cast<std::size_t>(g * 3)];
    if (row[2] < needed) continue;
    const double mean = static_cast<double>(row[0]) / kFixed / spots;
    const double variance = static_cast<double>(row[1]) / kFixed / spots - mean * mean;
    candidates.push_back({variance, &names[static_cast<std::size_t>(g)]});
  }
  if (candidates.empty())
    fail_data("gene choice",
              "no gene is common to {} of the {} slides ({} names in all): are species, or symbols and "
              "Ensembl ids, mixed? Choose slides with --slides, or give --gene-list",
              needed, slides, n);
  if (static_cast<std::int64_t>(candidates.size()) < count)
    fail_usage("gene choice",
               "--gene-count {}: only {} genes are in at least {} of the {} slides; ask for fewer, lower "
               "--gene-presence, or give --gene-list",
               count, candidates.size(), needed, slides);
  std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
    return a.variance != b.variance ? a.variance > b.variance : *a.name < *b.name;
  });
  std::vector<std::string> chosen;
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(*candidates[static_cast<std::size_t>(i)].name);
  return chosen;
}

}  // namespace spn::data
