// Embeddings as an AnnData .h5ad (0.12 on-disk encoding, readable from 0.7.7 on): see reference formats, section 4.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace spn::data {

struct H5adMatrix {  // row-major [n_obs, columns]
  std::int64_t columns = 0;
  std::vector<float> f32;  // exactly one of the two is filled
  std::vector<double> f64;
};

struct H5ad {
  std::vector<std::string> obs_names;                           // unique
  std::map<std::string, std::vector<std::string>> categorical;  // obs columns: slide, library_id
  std::map<std::string, std::vector<std::int32_t>> integer;     // obs columns: array_row, array_col
  std::map<std::string, H5adMatrix> obsm;
  // uns: nested one level, uns["spotniche"]["version"] = …; vectors become arrays
  using Fact = std::variant<std::string, double, std::int64_t, std::vector<double>, std::vector<std::string>>;
  std::map<std::string, std::map<std::string, Fact>> uns;
};

// Written aside and renamed onto path. Data error when the disk is full or the folder is missing.
void write_h5ad(const std::string& path, const H5ad& content);

}  // namespace spn::data
