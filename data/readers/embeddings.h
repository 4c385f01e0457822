// Embeddings of spots that another program computed, and how they meet the rows of a pack: by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack/reader.h"

namespace spn::data {

struct Embeddings {
  std::string source;                      // for messages
  std::vector<std::string> names, slides;  // slides: empty where the file does not tell
  std::int64_t width = 0;
  std::vector<float> values;  // [names, width]
};

// obsm[key] of an .h5ad, dense or a dataframe, of any float type; names are the index of obs, slides its column `slide`
// or, without it, `library_id`. Data error naming what is there instead.
Embeddings read_h5ad_embeddings(const std::string& path, const std::string& key);
// A .npy matrix and its rows' names, one a line.
Embeddings read_npy_embeddings(const std::string& path, const std::string& names);

struct Join {
  std::vector<std::int64_t> row;     // of the embeddings, for each row of the pack; -1: none
  std::vector<std::string> missing;  // names of the pack without an embedding
  std::int64_t surplus = 0;          // embeddings of no row of the pack
};

// An embedding belongs to the row of the pack that is called by its name; else by {slide}_{name} with its own slide;
// else, in a pack of one slide and when the file tells no slides, by {that slide}_{name}. Data error when two belong to
// the same row, or none to any.
Join join_embeddings(const Embeddings& embeddings, const PackReader& pack);

// [rows of the pack, width]; zeros where there is none. Data error naming the spot of a value that is not finite.
std::vector<float> joined_values(const Embeddings& embeddings, const Join& join, const PackReader& pack);

}  // namespace spn::data
