// One slide on its way into the pack: cleaned and normalised, then written as rows.
#pragma once

#include <cstdint>

#include "data/genes/vocabulary.h"
#include "data/pack/writer.h"
#include "data/prepare/prepare.h"
#include "data/readers/reader.h"

namespace spn::data {

// Reads a slide, drops spots outside the image and empty spots (counted), orders the rest from the top of the image
// down, normalises. Fills spots, dropped, genes, width, height, labelled and the scales of `report`.
// Data errors: most spots outside the image; no spot left.
Slide load_slide(SlideReader& reader, const SlideInfo& info, const PrepareOptions& options, PreparedSlide& report);

// Index in the list of each of the slide's genes; fills genes_found. Data error when none is in the list.
std::vector<std::int32_t> match_genes(const Slide& slide, const GeneList& list, PreparedSlide& report);

// Writes rows [first, first + spots); not collective. slide_index: row of /slides. Fills the padded windows.
void write_slide(PackWriter& writer, std::int64_t first, std::int32_t slide_index, const Slide& slide,
                 const GeneList& list, bool with_cluster, const PrepareOptions& options, PreparedSlide& report);

}  // namespace spn::data
