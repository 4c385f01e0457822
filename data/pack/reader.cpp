// Opens with HDF5, then reads rows with pread at the datasets' offsets: no lock, any number of threads. Datasets that
// somebody rewrote chunked or compressed are read through HDF5, one row at a time under its lock: slower, not refused.
#include "data/pack/reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "data/h5/h5.h"
#include "data/pack/commit.h"
#include "data/pack/half.h"
#include "data/pack/layout.h"
#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/sha256.h"

namespace spn::data {
namespace {

using h5::Type;

// One payload dataset of a pack.
struct Payload {
  std::string name;
  Type stored = Type::u8;
  std::int64_t offset = -1;  // -1: through HDF5
  std::size_t values = 0;    // a row
  std::size_t row_bytes() const { return values * h5::size_of(stored); }
};

}  // namespace

struct PackReader::Impl {
  std::string path;
  PackHeader header;
  std::vector<PackSlide> slides;
  std::vector<std::string> genes;
  files::Fd fd;
  Payload spot_image, niche_image, spot_gene, niche_gene, niche_feature, spot_feature;
  std::optional<FeatureInfo> niche_features, spot_features;
  std::optional<h5::File> slow;  // kept open only when some payload is not plain

  Payload payload(const h5::File& file, const std::string& name, std::int64_t file_bytes) const;
  void read_plain(const Payload& p, std::int64_t row, void* out) const;
  void read_image(const Payload& p, std::int64_t row, std::uint8_t* out) const;
  void read_gene(const Payload& p, std::int64_t row, float* out) const;
};

Payload PackReader::Impl::payload(const h5::File& file, const std::string& name, std::int64_t file_bytes) const {
  const h5::Dataset d = file.dataset(name);
  Payload p{name, d.type, d.offset, 1};
  for (std::size_t i = 1; i < d.shape.size(); ++i) p.values *= static_cast<std::size_t>(d.shape[i]);
  if (p.offset >= 0 && p.offset + static_cast<std::int64_t>(p.row_bytes()) * header.spots > file_bytes)
    fail_data("pack", "'{}' is truncated: {} ends at byte {}, the file at {}; copy or make it again", path, name,
              p.offset + static_cast<std::int64_t>(p.row_bytes()) * header.spots, file_bytes);
  return p;
}

PackReader::PackReader(std::string path) : impl_(std::make_unique<Impl>()) {
  Impl& r = *impl_;
  r.path = std::move(path);
  const UnchangedPack unchanged(r.path);
  r.fd = files::open_file(r.path, O_RDONLY, "open pack");
  struct stat status {};
  if (::fstat(r.fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    fail_data("pack", "expected a pack file, got '{}', which is none", r.path);
  h5::File file = h5::File::open(r.path);
  r.header = read_header(file);
  r.slides = read_slides(file);
  check_slides(r.path, r.slides, r.header.spots);
  r.genes = file.read_strings(kGeneName);
  r.spot_image = r.payload(file, kSpotImage, status.st_size);
  r.niche_image = r.payload(file, kNicheImage, status.st_size);
  r.spot_gene = r.payload(file, kSpotGene, status.st_size);
  r.niche_gene = r.payload(file, kNicheGene, status.st_size);
  r.niche_features = read_features(file, FeatureKind::niche_image, r.header.spots);
  r.spot_features = read_features(file, FeatureKind::spot_gene, r.header.spots);
  if (r.niche_features) r.niche_feature = r.payload(file, feature_dataset(FeatureKind::niche_image), status.st_size);
  if (r.spot_features) r.spot_feature = r.payload(file, feature_dataset(FeatureKind::spot_gene), status.st_size);
  ::posix_fadvise(r.fd.get(), 0, 0, POSIX_FADV_RANDOM);
  for (const Payload* p :
       {&r.spot_image, &r.niche_image, &r.spot_gene, &r.niche_gene, &r.niche_feature, &r.spot_feature})
    if (p->values > 0 && p->offset < 0 && !r.slow) r.slow.emplace(h5::File::open(r.path));
}

PackReader::~PackReader() = default;
PackReader::PackReader(PackReader&&) noexcept = default;
PackReader& PackReader::operator=(PackReader&&) noexcept = default;

const std::string& PackReader::path() const { return impl_->path; }
const PackHeader& PackReader::header() const { return impl_->header; }
const std::vector<PackSlide>& PackReader::slides() const { return impl_->slides; }
const std::vector<std::string>& PackReader::genes() const { return impl_->genes; }

const std::optional<FeatureInfo>& PackReader::features(FeatureKind kind) const {
  return kind == FeatureKind::niche_image ? impl_->niche_features : impl_->spot_features;
}

std::string PackReader::names_fingerprint() const {
  std::string all = describe(impl_->header, impl_->slides);
  for (const std::string& g : impl_->genes) all += g + '\n';
  for (const std::string& n : read_names()) all += n + '\n';
  return sha256(all);
}

std::string PackReader::fingerprint(std::int64_t sample_bytes) const {
  const Impl& r = *impl_;
  Sha256 sum;
  const auto add = [&](const auto& values) { sum.add(values.data(), values.size() * sizeof(values[0])); };
  add(names_fingerprint());
  add(read_slide_index());
  add(read_xy());
  add(read_clusters());
  std::vector<std::uint8_t> spot(r.spot_image.values), niche(r.niche_image.values);
  std::vector<float> spot_rna(r.spot_gene.values), niche_rna(r.niche_gene.values);
  const auto bytes = static_cast<std::int64_t>(spot.size() + niche.size() + 4 * (spot_rna.size() + niche_rna.size()));
  const std::int64_t n = r.header.spots, rows = std::min(n, std::max(sample_bytes / bytes, std::int64_t{2}));
  for (std::int64_t i = 0; i < rows; ++i) {
    read_row(i * (n - 1) / std::max(rows - 1, std::int64_t{1}),
             {spot.data(), niche.data(), spot_rna.data(), niche_rna.data()});
    add(spot);
    add(niche);
    add(spot_rna);
    add(niche_rna);
  }
  return "2:" + sum.hex();
}

std::vector<std::string> PackReader::read_names() const { return h5::File::open(impl_->path).read_strings(kSpotName); }

std::vector<std::int32_t> PackReader::read_slide_index() const {
  std::vector<std::int32_t> out(static_cast<std::size_t>(impl_->header.spots));
  h5::File::open(impl_->path).read_rows(kSpotSlide, Type::i32, out.data(), 0, impl_->header.spots);
  return out;
}

std::vector<double> PackReader::read_xy() const {
  std::vector<double> out(static_cast<std::size_t>(2 * impl_->header.spots));
  h5::File::open(impl_->path).read_rows(kSpotXy, Type::f64, out.data(), 0, impl_->header.spots);
  return out;
}

std::vector<std::int32_t> PackReader::read_clusters() const {
  std::vector<std::int32_t> out(static_cast<std::size_t>(impl_->header.spots), -1);
  if (impl_->header.has_cluster)
    h5::File::open(impl_->path).read_rows(kCluster, Type::i32, out.data(), 0, impl_->header.spots);
  return out;
}

std::vector<std::int32_t> PackReader::read_array(bool columns) const {
  std::vector<std::int32_t> out(static_cast<std::size_t>(impl_->header.spots));
  h5::File::open(impl_->path).read_rows(columns ? kArrayCol : kArrayRow, Type::i32, out.data(), 0, impl_->header.spots);
  return out;
}

void PackReader::Impl::read_plain(const Payload& p, std::int64_t row, void* out) const {
  const std::size_t want = p.row_bytes();
  const auto begin = static_cast<std::uint64_t>(p.offset) + static_cast<std::uint64_t>(row) * want;
  if (files::read_at(fd, path, out, want, begin) < want)
    fail_data("pack", "cannot read row {} of {} in '{}': the file ends there; it was changed while in use", row, p.name,
              path);
}

void PackReader::Impl::read_image(const Payload& p, std::int64_t row, std::uint8_t* out) const {
  if (p.offset >= 0) return read_plain(p, row, out);
  slow->read_rows(p.name, Type::u8, out, row, 1);
}

void PackReader::Impl::read_gene(const Payload& p, std::int64_t row, float* out) const {
  if (p.offset < 0) return slow->read_rows(p.name, Type::f32, out, row, 1);
  if (p.stored == Type::f32) return read_plain(p, row, out);
  thread_local std::vector<std::uint16_t> half;
  half.resize(p.values);
  read_plain(p, row, half.data());
  from_half(half, {out, p.values});
}

void PackReader::read_row(std::int64_t row, const Row& out) const {
  const Impl& r = *impl_;
  check(row >= 0 && row < r.header.spots, "pack", "expected a row within [0, {}), got {}", r.header.spots, row);
  if (out.spot_image) r.read_image(r.spot_image, row, out.spot_image);
  if (out.niche_image) r.read_image(r.niche_image, row, out.niche_image);
  if (out.spot_gene) r.read_gene(r.spot_gene, row, out.spot_gene);
  if (out.niche_gene) r.read_gene(r.niche_gene, row, out.niche_gene);
  check((out.niche_feature == nullptr || r.niche_features) && (out.spot_feature == nullptr || r.spot_features), "pack",
        "asked for features that '{}' does not have", r.path);
  if (out.niche_feature) r.read_gene(r.niche_feature, row, out.niche_feature);
  if (out.spot_feature) r.read_gene(r.spot_feature, row, out.spot_feature);
}

}  // namespace spn::data
