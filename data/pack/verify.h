// Reads every row of a pack and says what is wrong with it.
#pragma once

#include <string>
#include <vector>

#include "data/pack/reader.h"

namespace spn::data {

// One line a problem: how many rows have it, and the first. Empty: whole. Checked: names (unique, not empty, beginning
// with their slide's), slide index, coordinates, clusters, array places, gene names, finite gene values, niche genes
// within what log1p(1e4 x / sum(x)) can give, images that are not all zero, and features that are complete and finite.
// Throws only when a row cannot be read.
std::vector<std::string> verify_pack(const PackReader& pack);

// Bytes of one row on disk: images and genes.
std::int64_t row_bytes(const PackHeader& header);

}  // namespace spn::data
