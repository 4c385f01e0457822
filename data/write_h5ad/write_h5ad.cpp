// AnnData's on-disk encoding, each element with its encoding-type and encoding-version. No X: embeddings live in obsm.
// Root holds only AnnData's own groups: an unknown one there breaks its readers.
#include "data/write_h5ad/write_h5ad.h"

#include <algorithm>
#include <set>

#include "data/h5/h5.h"
#include "data/pack/temporary_file.h"
#include "engine/core/check.h"
#include "engine/core/file.h"

namespace spn::data {
namespace {

using h5::Type;

void encode(h5::File& f, const std::string& object, const char* type, const char* version) {
  f.set_text(object, "encoding-type", type);
  f.set_text(object, "encoding-version", version);
}

void make_dict(h5::File& f, const std::string& name) {
  f.make_group(name);
  encode(f, name, "dict", "0.1.0");
}

void write_texts(h5::File& f, const std::string& name, const std::vector<std::string>& values) {
  f.write_strings(name, values);
  encode(f, name, "string-array", "0.2.0");
}

// Empty text is a missing value.
void write_categorical(h5::File& f, const std::string& name, const std::vector<std::string>& values) {
  std::set<std::string> distinct(values.begin(), values.end());
  distinct.erase("");
  const std::vector<std::string> categories(distinct.begin(), distinct.end());
  std::vector<std::int32_t> codes;
  for (const std::string& v : values)
    codes.push_back(v.empty() ? -1
                              : static_cast<std::int32_t>(std::lower_bound(categories.begin(), categories.end(), v) -
                                                          categories.begin()));
  f.make_group(name);
  encode(f, name, "categorical", "0.2.0");
  f.set_flag(name, "ordered", false);
  write_texts(f, name + "/categories", categories);
  const auto n = static_cast<std::int64_t>(codes.size());
  if (categories.size() <= 127) {
    const std::vector<std::int8_t> small(codes.begin(), codes.end());
    f.write_all(name + "/codes", Type::i8, {n}, small.data());
  } else {
    f.write_all(name + "/codes", Type::i32, {n}, codes.data());
  }
  encode(f, name + "/codes", "array", "0.2.0");
}

void write_frame_head(h5::File& f, const std::string& name, const std::vector<std::string>& index,
                      const std::vector<std::string>& columns) {
  f.make_group(name);
  encode(f, name, "dataframe", "0.2.0");
  f.set_text(name, "_index", "_index");
  f.set_texts(name, "column-order", columns);
  write_texts(f, name + "/_index", index);
}

void check_key(const std::string& kind, const std::string& key) {
  check(!key.empty() && key.find('/') == std::string::npos, "h5ad", "expected a {} key without '/', got '{}'", kind,
        key);
}

void check_content(const H5ad& c) {
  const std::size_t n = c.obs_names.size();
  std::set<std::string> seen;
  for (const std::string& name : c.obs_names)
    if (!seen.insert(name).second) fail_data("h5ad", "expected unique spot names, got '{}' twice", name);
  const auto column = [&](const std::string& key, std::size_t size) {
    check_key("obs", key);
    check(key != "_index", "h5ad", "the obs column name '_index' is AnnData's own");
    check(size == n, "h5ad", "expected {} values in obs column '{}', got {}", n, key, size);
  };
  for (const auto& [key, values] : c.categorical) column(key, values.size());
  for (const auto& [key, values] : c.integer) {
    column(key, values.size());
    check(!c.categorical.count(key), "h5ad", "obs column '{}' is given twice", key);
  }
  for (const auto& [key, m] : c.obsm) {
    check_key("obsm", key);
    const std::size_t want = n * static_cast<std::size_t>(m.columns), got = m.f32.size() + m.f64.size();
    check(m.columns > 0 && got == want && (m.f32.empty() || m.f64.empty()), "h5ad",
          "expected {} x {} values of one type in obsm['{}'], got {}", n, m.columns, key, got);
  }
  for (const auto& [group, entries] : c.uns) {
    check_key("uns", group);
    for (const auto& [key, value] : entries) check_key("uns", key);
  }
}

void write_obsm(h5::File& f, const std::string& name, const H5adMatrix& m, std::int64_t n) {
  const bool wide = !m.f64.empty();
  // {n, columns}: row-major, as numpy reads it
  f.write_all(name, wide ? Type::f64 : Type::f32, {n, m.columns},
              wide ? static_cast<const void*>(m.f64.data()) : static_cast<const void*>(m.f32.data()));
  encode(f, name, "array", "0.2.0");
}

// One value of uns, as anndata encodes its type.
template <class T>
void write_fact(h5::File& f, const std::string& name, const T& v) {
  if constexpr (std::is_same_v<T, std::vector<double>>) {
    f.write_all(name, Type::f64, {static_cast<std::int64_t>(v.size())}, v.data());
    encode(f, name, "array", "0.2.0");
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    f.write_strings(name, v);
    encode(f, name, "string-array", "0.2.0");
  } else {
    f.write_scalar(name, v);
    encode(f, name, std::is_same_v<T, std::string> ? "string" : "numeric-scalar", "0.2.0");
  }
}

void write_content(h5::File& f, const H5ad& c) {
  const auto n = static_cast<std::int64_t>(c.obs_names.size());
  encode(f, "/", "anndata", "0.1.0");

  std::vector<std::string> columns;
  for (const auto& [key, values] : c.categorical) columns.push_back(key);
  for (const auto& [key, values] : c.integer) columns.push_back(key);
  write_frame_head(f, "/obs", c.obs_names, columns);
  for (const auto& [key, values] : c.categorical) write_categorical(f, "/obs/" + key, values);
  for (const auto& [key, values] : c.integer) {
    f.write_all("/obs/" + key, Type::i32, {n}, values.data());
    encode(f, "/obs/" + key, "array", "0.2.0");
  }
  write_frame_head(f, "/var", {}, {});

  make_dict(f, "/obsm");
  for (const auto& [key, matrix] : c.obsm) write_obsm(f, "/obsm/" + key, matrix, n);
  for (const char* empty : {"/layers", "/varm", "/obsp", "/varp"}) make_dict(f, empty);

  make_dict(f, "/uns");
  for (const auto& [group, entries] : c.uns) {
    const std::string folder = "/uns/" + group;
    make_dict(f, folder);
    for (const auto& [key, value] : entries) {
      const std::string name = folder + "/" + key;
      std::visit([&](const auto& v) { write_fact(f, name, v); }, value);
    }
  }
}

}  // namespace

void write_h5ad(const std::string& path, const H5ad& content) {
  check_content(content);
  check_target(path);
  const std::string temporary = temporary_name(path, new_tag());
  try {
    h5::File file = h5::File::create(temporary);
    write_content(file, content);
    file.close();
    files::sync_file(temporary);
    files::rename_durably(temporary, path);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
}

}  // namespace spn::data
