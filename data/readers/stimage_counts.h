// The three tables of one STimage-1K4M slide: counts (streamed into sparse rows), coordinates, annotation.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/schema/slide.h"

namespace spn::data {

// Native spot name: `id` without the known `{slide}_` in front; ids without it are native already.
std::string native_spot(const std::string& slide, const std::string& id);

// Where each native spot lies, in px.
struct Coordinates {
  std::unordered_map<std::string, std::int64_t> row;  // native → index
  std::vector<double> x, y;
};
// Columns `xaxis` and `yaxis` are found by name (y stands first in the files). Data errors with file and row: a
// coordinate that is no finite number, a spot twice.
Coordinates read_coordinates(const std::string& path, const std::string& slide);

// Fills counts, spot_name, x, y, array_row, array_col, and dropped.{only_in_*, duplicate_genes, empty_counts} of the
// slide; spots that only one of the two files has are left out. Data errors with file, row, spot and gene: negative
// counts, text, a spot twice, an unnamed gene; and no spot in common.
void read_counts(const std::string& path, const Coordinates& coordinates, Slide& slide);

// Labels of the first label column; empty, NaN, `undetermined` and `Exclude` are no labels. Whole-number labels keep
// their number as cluster id, others get theirs by sorted name.
void read_annotation(const std::string& path, Slide& slide);

}  // namespace spn::data
