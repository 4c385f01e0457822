// Gene names: one spelling, duplicate columns, and a list of genes to look columns up in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace spn::data {

// The name under which genes are compared: Ensembl gene ids (ENSG…, ENSMUSG…) without version suffix, others unchanged.
std::string canonical_gene(std::string_view name);

// The columns of a counts file: unique genes in order of first appearance, and where each column goes.
struct GeneColumns {
  std::vector<std::string> genes;
  std::vector<std::int32_t> of_column;  // [columns] index into genes
  std::int64_t merged = 0;              // columns that go to an earlier column's gene
};

// Repeated names are one gene. `X.k` is X again where X and X.1 … X.(k-1) are columns too, before or after it (pandas
// and R rename duplicates so, and authors reorder columns later); clone names such as FO538757.1, whose stem is no
// column, stay. Empty names are the caller's to refuse.
GeneColumns merge_gene_columns(const std::vector<std::string>& names);

// The genes of a pack, in its order.
class GeneList {
 public:
  explicit GeneList(std::vector<std::string> canonical_names);
  // One name a line; blank lines and lines that begin with # are skipped. Data errors: missing or empty file, a gene
  // twice (with both rows).
  static GeneList from_file(const std::string& path);

  const std::vector<std::string>& names() const { return names_; }
  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  // For each of a slide's genes its index in this list, or -1.
  std::vector<std::int32_t> match(const std::vector<std::string>& slide_genes) const;

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int32_t> index_;
};

}  // namespace spn::data
