// inspect --against: how far the embeddings of two .h5ad files lie apart, of the same spots on two devices or builds.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/h5/h5.h"
#include "engine/core/check.h"
#include "launch/cli/inspect.h"

namespace spn::cli {
namespace {

using data::h5::Dataset;
using data::h5::File;
using data::h5::Type;

std::vector<std::string> obs_names(const File& file, const std::string& path) {
  if (!file.has("/obs") || !file.has("/obsm"))
    fail_data("inspect", "{}: expected an .h5ad with obsm, as embed writes it, got another file", path);
  return file.read_strings("/obs/" + (file.has_attribute("/obs", "_index") ? file.text("/obs", "_index") : "_index"));
}

struct Apart {
  double largest = 0;  // NaN once any value is
  std::int64_t row = -1;
};

Apart measure(const File& a, const File& b, const std::string& name, const Dataset& d) {
  constexpr std::int64_t kRows = 4096;  // at once
  Apart apart;
  std::vector<double> x, y;
  for (std::int64_t at = 0; at < d.shape[0]; at += kRows) {
    const std::int64_t n = std::min(kRows, d.shape[0] - at);
    x.resize(static_cast<std::size_t>(n * d.shape[1]));
    y.resize(x.size());
    a.read_rows(name, Type::f64, x.data(), at, n);
    b.read_rows(name, Type::f64, y.data(), at, n);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double difference = std::abs(x[i] - y[i]);
      if (difference <= apart.largest) continue;  // false for NaN, which is kept
      apart = {difference, at + static_cast<std::int64_t>(i) / d.shape[1]};
      if (std::isnan(difference)) return apart;
    }
  }
  return apart;
}

}  // namespace

Faults compare_h5ad(const std::string& path, const std::string& other, std::ostream& out) {
  const File a = File::open(path), b = File::open(other);
  Faults faults;
  if (obs_names(a, path) != obs_names(b, other)) {
    faults.push_back(fmt::format("{} holds other spots, or in another order", other));
    return faults;
  }
  for (const std::string& key : a.children("/obsm")) {
    const std::string name = "/obsm/" + key;
    if (a.is_group(name)) continue;  // a dataframe or a sparse matrix: not written by embed
    if (!b.has(name)) {
      faults.push_back(fmt::format("{} has no obsm['{}']", other, key));
      continue;
    }
    const Dataset d = a.dataset(name), e = b.is_group(name) ? Dataset{} : b.dataset(name);
    if (d.shape != e.shape || d.shape.size() != 2) {
      faults.push_back(fmt::format("obsm['{}'] is [{}] here and [{}] in {}", key, fmt::join(d.shape, ", "),
                                   fmt::join(e.shape, ", "), other));
      continue;
    }
    const Apart apart = measure(a, b, name, d);
    print(out, "  {:<34} largest difference {:.3g}{}\n", fmt::format("obsm['{}']", key), apart.largest,
          apart.row < 0 ? "" : fmt::format(" at row {}", apart.row));
  }
  for (const std::string& key : b.children("/obsm"))
    if (!a.has("/obsm/" + key)) faults.push_back(fmt::format("{} has no obsm['{}']", path, key));
  return faults;
}

}  // namespace spn::cli
