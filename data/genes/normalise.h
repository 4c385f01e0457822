// Expression as the model sees it: log1p(1e4 · x / sum(x)) per spot over all genes of the slide.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/schema/slide.h"

namespace spn::data {

// In place. Every row must hold a count (empty spots are dropped before).
void normalise(Counts& counts);

// One spot over the gene list, dense. to_list: GeneList::match of counts.genes; out [G] is overwritten.
void spot_expression(const Counts& counts, std::int64_t spot, std::span<const std::int32_t> to_list,
                     std::span<float> out);

// Mean of the same over some spots (a niche); at least one.
void mean_expression(const Counts& counts, std::span<const std::int32_t> spots, std::span<const std::int32_t> to_list,
                     std::span<float> out);

// Keeps these rows, in this order.
void take_rows(Counts& counts, const std::vector<std::int64_t>& rows);

}  // namespace spn::data
