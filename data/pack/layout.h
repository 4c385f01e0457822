// The pack's objects inside an HDF5 file: attributes, the slides' table, shapes. Shared by writer and reader.
#pragma once

#include <string>
#include <vector>

#include "data/h5/h5.h"
#include "data/pack/format.h"

namespace spn::data {

inline constexpr const char* kSpotName = "/spots/name";
inline constexpr const char* kSpotSlide = "/spots/slide";
inline constexpr const char* kSpotXy = "/spots/xy";
inline constexpr const char* kArrayRow = "/spots/array_row";
inline constexpr const char* kArrayCol = "/spots/array_col";
inline constexpr const char* kSpotImage = "/spots/spot_image";
inline constexpr const char* kNicheImage = "/spots/niche_image";
inline constexpr const char* kSpotGene = "/spots/spot_gene";
inline constexpr const char* kNicheGene = "/spots/niche_gene";
inline constexpr const char* kCluster = "/spots/cluster";
inline constexpr const char* kGeneName = "/genes/name";

// Every fixed-size dataset of /spots, at its final shape and not filled. Groups included.
void make_spots(h5::File& file, const PackHeader& header);
// Root attributes, /slides/* and /genes/name.
void write_tables(h5::File& file, const PackHeader& header, const std::vector<PackSlide>& slides,
                  const std::vector<std::string>& genes);

// Sizes from the datasets' shapes, the rest from the attributes. Data error when they disagree, when format or version
// is another, or when anything is missing.
PackHeader read_header(const h5::File& file);
std::vector<PackSlide> read_slides(const h5::File& file);

// Slides in order of first_row must cover [0, spots) without gap or overlap. Data error that names the slide.
void check_slides(const std::string& path, const std::vector<PackSlide>& slides, std::int64_t spots);

// Every field, for fingerprints.
std::string describe(const PackHeader& header, const std::vector<PackSlide>& slides);

}  // namespace spn::data
