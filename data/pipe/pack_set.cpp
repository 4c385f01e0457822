// Several packs read as one: checks that they agree, joins their small tables, reads rows of any of them.
#include <algorithm>
#include <map>
#include <span>
#include <tuple>

#include "data/pipe/loader.h"
#include "engine/core/check.h"
#include "engine/core/sha256.h"

namespace spn::data {
namespace {

void check_agree(const PackReader& a, const PackReader& b) {
  const PackHeader &x = a.header(), &y = b.header();
  const auto same = [&](const char* what, const auto& left, const auto& right) {
    if (left != right)
      fail_data("packs",
                "expected packs that agree, got {} {} in '{}' and {} in '{}'; prepare them with the same options", what,
                left, a.path(), right, b.path());
  };
  same("spot image px", x.spot_px, y.spot_px);
  same("niche image px", x.niche_px, y.niche_px);
  same("spot genes", x.spot_genes, y.spot_genes);
  same("niche genes", x.niche_genes, y.niche_genes);
  same("spot window um", x.spot_window_um, y.spot_window_um);
  same("normalisation", x.normalisation, y.normalisation);
  const auto [left, right] = std::mismatch(a.genes().begin(), a.genes().end(), b.genes().begin(), b.genes().end());
  if (left != a.genes().end())
    fail_data("packs",
              "expected the same gene list, got '{}' in '{}' and '{}' in '{}' at position {}; prepare the second with "
              "--gene-list of the first",
              *left, a.path(), *right, b.path(), left - a.genes().begin());
}

// A ReLU would hide what is not, and a training step would be skipped whenever it came.
void require_finite(const char* what, std::span<const float> values, const PackReader& pack, std::int64_t row) {
  float sum = 0;  // 0 · x is 0, or NaN
  for (const float v : values) sum += v * 0.0F;
  if (sum != 0)
    fail_data("packs", "the {} of row {} of '{}' are not all finite; spotniche inspect --verify lists such rows", what,
              row, pack.path());
}

std::string told(const FeatureInfo& info, const char* fact) {
  const auto found = info.facts.find(fact);
  return found == info.facts.end() ? "not told" : found->second;
}

}  // namespace

PackSet::PackSet(const std::vector<std::string>& paths) {
  check(!paths.empty(), "packs", "expected at least one pack, got none");
  std::map<std::string, std::string> home;  // slide name to its pack
  std::int64_t rows = 0;
  std::int32_t slides = 0;
  for (const std::string& path : paths) {
    packs_.emplace_back(path);
    const PackReader& pack = packs_.back();
    check_agree(packs_.front(), pack);
    for (const PackSlide& s : pack.slides()) {
      const auto [other, fresh] = home.emplace(s.name, path);
      if (!fresh)
        fail_data("packs", "slide '{}' is in '{}' and in '{}'; give each slide once", s.name, other->second, path);
      if (!(s.um_per_px > 0))
        fail_data("packs", "expected a positive um_per_px for slide '{}' in '{}', got {}", s.name, path, s.um_per_px);
    }
    const auto index = pack.read_slide_index(), cluster = pack.read_clusters();
    const auto xy = pack.read_xy();
    for (std::size_t i = 0; i < index.size(); ++i) {
      if (index[i] < 0 || static_cast<std::size_t>(index[i]) >= pack.slides().size())
        fail_data("packs", "expected a slide index below {} at row {} of '{}', got {}", pack.slides().size(), i, path,
                  index[i]);
      const double scale = pack.slides()[static_cast<std::size_t>(index[i])].um_per_px;
      slide_.push_back(slides + index[i]);
      xy_um_.push_back(static_cast<float>(xy[2 * i] * scale));
      xy_um_.push_back(static_cast<float>(xy[2 * i + 1] * scale));
    }
    cluster_.insert(cluster_.end(), cluster.begin(), cluster.end());
    first_.push_back(rows);
    rows += pack.header().spots;
    slides += static_cast<std::int32_t>(pack.slides().size());
  }
}

std::int64_t PackSet::rows() const { return static_cast<std::int64_t>(slide_.size()); }

std::string PackSet::fingerprint() const {
  std::string all;
  for (const PackReader& p : packs_) {
    all += p.fingerprint() + '\n';
    if (stored_.spot_features) all += p.features(FeatureKind::spot_gene)->checksum + '\n';
  }
  return "2:" + sha256(all);
}

std::string PackSet::names_fingerprint() const {
  std::string all;
  for (const PackReader& p : packs_) {
    all += p.names_fingerprint() + '\n';
    if (stored_.spot_features) all += p.features(FeatureKind::spot_gene)->checksum + '\n';
  }
  return sha256(all);
}

std::string PackSet::features_missing(FeatureKind kind) const {
  const auto& first = packs_.front().features(kind);
  for (const PackReader& p : packs_) {
    const auto& info = p.features(kind);
    if (!info) return fmt::format("'{}' has no {} features", p.path(), name_of(kind));
    if (!info->complete())
      return fmt::format("the {} features of '{}' are incomplete ({}): give spotniche encode once more to go on",
                         name_of(kind), p.path(), info->progress());
    const auto unlike = [&](const std::string& what, const auto& a, const auto& b) {
      return fmt::format("the {} features of '{}' and '{}' differ: {} {} and {}; encode them alike", name_of(kind),
                         packs_.front().path(), p.path(), what, a, b);
    };
    if (info->width != first->width) return unlike("width", first->width, info->width);
    // of spot genes the sum is over the values, which are each pack's own
    if (kind == FeatureKind::niche_image && info->checksum != first->checksum)
      return unlike("weights", first->checksum, info->checksum);
    for (const char* fact : {"encoder", "encoder_config", "precision"})
      if (told(*first, fact) != told(*info, fact)) return unlike(fact, told(*first, fact), told(*info, fact));
    // an .npy has none
    for (const PackReader& other : packs_) {
      const auto& a = other.features(kind);
      if (&other == &p) break;
      if (const auto x = a->facts.find("key"), y = info->facts.find("key");
          x != a->facts.end() && y != info->facts.end() && x->second != y->second)
        return unlike("key", x->second, y->second);
    }
  }
  return "";
}

void PackSet::read_stored(const Stored& stored) {
  for (const FeatureKind kind : kFeatureKinds) {
    if (!(kind == FeatureKind::niche_image ? stored.niche_features : stored.spot_features)) continue;
    const std::string why = features_missing(kind);
    if (!why.empty()) fail_data("packs", "{}", why);
  }
  stored_ = stored;
}

std::int64_t PackSet::spot_width() const {
  return stored_.spot_features ? features(FeatureKind::spot_gene).width : header().spot_genes;
}

void PackSet::read(const std::vector<std::int64_t>& rows, HostBatch& out) const {
  const PackHeader& h = header();
  const auto n = rows.size();
  const auto spot = static_cast<std::size_t>(3 * h.spot_px) * static_cast<std::size_t>(h.spot_px);
  const bool cached = stored_.niche_features;
  const auto niche = cached ? 0 : static_cast<std::size_t>(3 * h.niche_px) * static_cast<std::size_t>(h.niche_px);
  const auto feature = cached ? static_cast<std::size_t>(features(FeatureKind::niche_image).width) : 0;
  const auto spot_genes = static_cast<std::size_t>(spot_width()), niche_genes = static_cast<std::size_t>(h.niche_genes);
  out.row = rows;
  out.slide.resize(n);
  out.cluster.resize(n);
  out.xy_um.resize(2 * n);
  out.spot_image.resize(n * spot);
  out.niche_image.resize(n * niche);
  out.spot_gene.resize(n * spot_genes);
  out.niche_gene.resize(n * niche_genes);
  out.niche_feature.resize(n * feature);
  for (std::size_t i = 0; i < n; ++i) {
    check(rows[i] >= 0 && rows[i] < this->rows(), "packs", "expected a row within [0, {}), got {}", this->rows(),
          rows[i]);
    const auto row = static_cast<std::size_t>(rows[i]);
    const auto p =
        static_cast<std::size_t>(std::upper_bound(first_.begin(), first_.end(), rows[i]) - first_.begin() - 1);
    out.slide[i] = slide_[row];
    out.cluster[i] = cluster_[row];
    out.xy_um[2 * i] = xy_um_[2 * row];
    out.xy_um[2 * i + 1] = xy_um_[2 * row + 1];
    PackReader::Row to;
    to.spot_image = out.spot_image.data() + i * spot;
    if (cached)
      to.niche_feature = out.niche_feature.data() + i * feature;
    else
      to.niche_image = out.niche_image.data() + i * niche;
    (stored_.spot_features ? to.spot_feature : to.spot_gene) = out.spot_gene.data() + i * spot_genes;
    to.niche_gene = out.niche_gene.data() + i * niche_genes;
    packs_[p].read_row(rows[i] - first_[p], to);
    for (const auto& [what, values, width] : {std::tuple{"spot genes", &out.spot_gene, spot_genes},
                                              {"niche genes", &out.niche_gene, niche_genes},
                                              {"niche features", &out.niche_feature, feature}})
      require_finite(what, {values->data() + i * width, width}, packs_[p], rows[i] - first_[p]);
  }
}

}  // namespace spn::data
