#include "data/readers/embeddings.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <unordered_map>

#include "data/h5/h5.h"
#include "data/readers/npy.h"
#include "engine/core/check.h"
#include "engine/core/text.h"

namespace spn::data {
namespace {

using h5::File;
using h5::Type;

std::string encoding(const File& file, const std::string& name) {
  return file.has_attribute(name, "encoding-type") ? file.text(name, "encoding-type") : "";
}

std::vector<std::string> read_text(const File& file, const std::string& name);

// Codes into categories; -1 is no value.
std::vector<std::string> read_categories(const File& file, const std::string& codes_name,
                                         const std::string& words_name) {
  const auto words = read_text(file, words_name);
  const h5::Dataset d = file.dataset(codes_name);
  if (d.shape.size() != 1) fail_data("h5ad", "expected a list in {} of '{}'", codes_name, file.path());
  std::vector<std::int32_t> codes(static_cast<std::size_t>(d.shape[0]));
  file.read_rows(codes_name, Type::i32, codes.data(), 0, d.shape[0]);
  std::vector<std::string> out(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < -1 || codes[i] >= static_cast<std::int32_t>(words.size()))
      fail_data("h5ad", "{} of '{}' is {} at row {}, of {} categories", codes_name, file.path(), codes[i], i,
                words.size());
    if (codes[i] >= 0) out[i] = words[static_cast<std::size_t>(codes[i])];
  }
  return out;
}

// A column of text in any of AnnData's encodings; whole numbers as text.
std::vector<std::string> read_text(const File& file, const std::string& name) {
  if (file.is_group(name)) {
    const std::string kind = encoding(file, name);
    if (kind == "categorical") return read_categories(file, name + "/codes", name + "/categories");
    if (kind == "nullable-string-array") return file.read_strings(name + "/values");
    fail_data("h5ad", "expected text in {} of '{}', got {}", name, file.path(), kind.empty() ? "a group" : kind);
  }
  // anndata 0.7: the codes stand where the values would, the words beside them
  const std::size_t slash = name.rfind('/');
  if (const std::string words = name.substr(0, slash) + "/__categories" + name.substr(slash); file.has(words))
    return read_categories(file, name, words);
  const h5::Dataset d = file.dataset(name);
  if (d.type == Type::text) return file.read_strings(name);
  const bool whole = d.type == Type::u8 || d.type == Type::i8 || d.type == Type::i32 || d.type == Type::i64;
  if (!whole || d.shape.size() != 1)
    fail_data("h5ad", "expected text in {} of '{}', got {}", name, file.path(), h5::name_of(d.type));
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(d.shape[0]));
  file.read_rows(name, Type::i64, numbers.data(), 0, d.shape[0]);
  std::vector<std::string> out;
  for (const std::int64_t n : numbers) out.push_back(std::to_string(n));
  return out;
}

void expect_floats(const File& file, const std::string& name, const h5::Dataset& d) {
  if (d.type != Type::f16 && d.type != Type::f32 && d.type != Type::f64)
    fail_data("h5ad", "expected float16, float32 or float64 in {} of '{}', got {}; store it as float32", name,
              file.path(), h5::name_of(d.type));
  if (!d.filter.empty())
    fail_data("h5ad", "{} in '{}' is compressed with '{}', which this HDF5 library lacks; rewrite it with gzip or none",
              name, file.path(), d.filter);
}

void read_matrix(const File& file, const std::string& name, std::int64_t rows, Embeddings& out) {
  const h5::Dataset d = file.dataset(name);
  if (d.shape.size() != 2 || d.shape[0] != rows || d.shape[1] < 1)
    fail_data("h5ad", "expected {} rows in {} of '{}', got shape [{}]", rows, name, file.path(),
              fmt::join(d.shape, ", "));
  expect_floats(file, name, d);
  out.width = d.shape[1];
  out.values.resize(static_cast<std::size_t>(rows * out.width));
  file.read_rows(name, Type::f32, out.values.data(), 0, rows);
}

void read_frame(const File& file, const std::string& name, std::int64_t rows, Embeddings& out) {
  const auto columns = file.texts(name, "column-order");
  out.width = static_cast<std::int64_t>(columns.size());
  if (columns.empty()) fail_data("h5ad", "{} in '{}' has no columns", name, file.path());
  out.values.resize(static_cast<std::size_t>(rows * out.width));
  std::vector<float> column(static_cast<std::size_t>(rows));
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const std::string path = name + "/" + columns[c];
    if (file.is_group(path))
      fail_data("h5ad", "expected numbers in {} of '{}', got {}", path, file.path(), encoding(file, path));
    const h5::Dataset d = file.dataset(path);
    if (d.shape != std::vector<std::int64_t>{rows})
      fail_data("h5ad", "expected {} rows in {} of '{}', got shape [{}]", rows, path, file.path(),
                fmt::join(d.shape, ", "));
    expect_floats(file, path, d);
    file.read_rows(path, Type::f32, column.data(), 0, rows);
    for (std::size_t i = 0; i < column.size(); ++i) out.values[i * columns.size() + c] = column[i];
  }
}

// One more name in a message.
void add_quoted(std::string& list, const std::string& name) {
  list += fmt::format("{}'{}'", list.empty() ? "" : ", ", name);
}

}  // namespace

Embeddings read_h5ad_embeddings(const std::string& path, const std::string& key) {
  const File file = File::open(path);
  if (!file.has("/obs") || !file.has("/obsm"))
    fail_data("h5ad", "expected an .h5ad with obs and obsm, got another HDF5 file: '{}'", path);
  if (!file.is_group("/obs") || !file.is_group("/obsm"))
    fail_data("h5ad", "'{}' is of an anndata before 0.7; read and write it once with a newer one", path);
  const std::string name = "/obsm/" + key;
  if (!file.has(name)) {
    std::string there;
    for (const std::string& k : file.children("/obsm")) add_quoted(there, k);
    fail_data("h5ad", "expected obsm['{}'] in '{}', got {}; name another with --key", key, path,
              there.empty() ? "an empty obsm" : there);
  }
  Embeddings e;
  e.source = path;
  e.names = read_text(file, "/obs/" + (file.has_attribute("/obs", "_index") ? file.text("/obs", "_index") : "_index"));
  for (const char* column : {"/obs/slide", "/obs/library_id"})
    if (file.has(column)) {
      e.slides = read_text(file, column);
      break;
    }
  if (!e.slides.empty() && e.slides.size() != e.names.size())
    fail_data("h5ad", "expected {} slides in obs of '{}', got {}", e.names.size(), path, e.slides.size());
  const auto rows = static_cast<std::int64_t>(e.names.size());
  if (!file.is_group(name))
    read_matrix(file, name, rows, e);
  else if (const std::string kind = encoding(file, name); kind == "dataframe")
    read_frame(file, name, rows, e);
  else
    fail_data("h5ad", "expected a dense matrix or a dataframe in {} of '{}', got {}; store it dense", name, path,
              kind.empty() ? "a group" : kind);
  return e;
}

Embeddings read_npy_embeddings(const std::string& path, const std::string& names) {
  NpyMatrix m = read_npy(path);
  Embeddings e;
  e.source = path;
  std::ifstream in(names);
  if (!in) fail_data("names", "cannot read '{}'", names);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (e.names.empty()) line = without_bom(line);
    if (line.empty()) fail_data("names", "line {} of '{}' is empty; give one name a line", e.names.size() + 1, names);
    e.names.push_back(line);
  }
  if (static_cast<std::int64_t>(e.names.size()) != m.rows)
    fail_data("names", "expected {} names (the rows of '{}') in '{}', got {}", m.rows, path, names, e.names.size());
  e.width = m.columns;
  e.values = std::move(m.values);
  return e;
}

Join join_embeddings(const Embeddings& e, const PackReader& pack) {
  const auto names = pack.read_names();
  std::unordered_map<std::string, std::int64_t> rows;
  for (std::size_t i = 0; i < names.size(); ++i) rows.emplace(names[i], static_cast<std::int64_t>(i));
  Join j;
  j.row.assign(names.size(), -1);
  const std::string only = e.slides.empty() && pack.slides().size() == 1 ? pack.slides()[0].name : "";
  for (std::size_t i = 0; i < e.names.size(); ++i) {
    auto found = rows.find(e.names[i]);
    const std::string slide = e.slides.empty() ? only : e.slides[i];
    if (found == rows.end() && !slide.empty()) found = rows.find(slide + "_" + e.names[i]);
    if (found == rows.end()) {
      ++j.surplus;
      continue;
    }
    std::int64_t& row = j.row[static_cast<std::size_t>(found->second)];
    if (row >= 0)
      fail_data(
          "join",
          "rows {} ('{}') and {} ('{}') of '{}' are both of spot '{}'; keep one of them, or tell the slides apart "
          "by a column obs['slide']",
          row, e.names[static_cast<std::size_t>(row)], i, e.names[i], e.source, found->first);
    row = static_cast<std::int64_t>(i);
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (j.row[i] < 0) j.missing.push_back(names[i]);
  if (j.missing.size() == names.size())
    fail_data("join",
              "no name of '{}' is one of '{}': expected names like '{}', got names like '{}'{}; name rows "
              "{{slide}}_{{spot}}, "
              "or give bare spot names and a column obs['slide']",
              e.source, pack.path(), names.front(), e.names.empty() ? "" : e.names.front(),
              e.slides.empty() ? "" : fmt::format(" of slide '{}'", e.slides.front()));
  return j;
}

std::vector<float> joined_values(const Embeddings& e, const Join& join, const PackReader& pack) {
  const auto width = static_cast<std::size_t>(e.width);
  std::vector<float> out(join.row.size() * width, 0.0F);
  for (std::size_t i = 0; i < join.row.size(); ++i) {
    if (join.row[i] < 0) continue;
    const float* from = e.values.data() + static_cast<std::size_t>(join.row[i]) * width;
    for (std::size_t c = 0; c < width; ++c) {
      if (!std::isfinite(from[c]))
        fail_data("join", "the embedding of '{}' (row {} of '{}', for '{}') is {} in column {}",
                  e.names[static_cast<std::size_t>(join.row[i])], join.row[i], e.source, pack.path(), from[c], c);
      out[i * width + c] = from[c];
    }
  }
  return out;
}

}  // namespace spn::data
