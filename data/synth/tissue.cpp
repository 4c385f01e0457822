// Outline, array, fields. The tissue is the set of array places nearest to the centre of a lobed disc, so that a slide
// has exactly as many spots as asked for.
#include "data/synth/tissue.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace spn::data {

PhiloxStream synth_stream(std::uint64_t seed, SynthDraw draw, std::int64_t slide, std::int64_t item) {
  const auto stream = static_cast<std::uint64_t>(draw) << 56 | static_cast<std::uint64_t>(slide) << 36 |
                      static_cast<std::uint64_t>(item);
  return PhiloxStream(seed, RandomUse::synth, stream);
}

SynthField::SynthField(PhiloxStream& rng, double length_um, int waves) {
  for (int i = 0; i < waves; ++i) {
    const double kx = rng.normal() / length_um, ky = rng.normal() / length_um;
    waves_.push_back({kx, ky, rng.uniform_double() * 2 * std::numbers::pi});
  }
}

double SynthField::operator()(double x, double y) const {
  double sum = 0;
  for (const Wave& w : waves_) sum += std::cos(w.kx * x + w.ky * y + w.phase);
  return sum * std::sqrt(2.0 / static_cast<double>(waves_.size()));
}

namespace {

// k levels evenly over [low, high], in a drawn order.
std::vector<double> levels(PhiloxStream& rng, std::int64_t k, double low, double high) {
  std::vector<double> v;
  for (std::int64_t i = 0; i < k; ++i)
    v.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(k - 1));
  for (std::size_t i = v.size() - 1; i > 0; --i) std::swap(v[i], v[rng.below(i + 1)]);
  return v;
}

std::vector<SynthTraits> draw_traits(const SynthOptions& o) {
  PhiloxStream rng = synth_stream(o.seed, SynthDraw::traits);
  const auto density = levels(rng, o.domains, std::log(1300.0), std::log(6000.0));
  const auto eosin = levels(rng, o.domains, 0.16, 0.46);
  const auto radius = levels(rng, o.domains, 2.9, 4.4);
  const auto fibre = levels(rng, o.domains, 0.1, 0.9);
  const auto lymphoid = levels(rng, o.domains, -2.2, 0.8);
  std::vector<SynthTraits> traits;
  for (std::size_t k = 0; k < static_cast<std::size_t>(o.domains); ++k)
    traits.push_back({density[k], eosin[k], radius[k], fibre[k], lymphoid[k]});
  return traits;
}

}  // namespace

SynthTissue::SynthTissue(const SynthOptions& o, std::int64_t slide) : traits_(draw_traits(o)) {
  const bool hex = o.technology == "Visium";
  pitch_ = hex ? 100.0 : 200.0;
  radius_ = hex ? 27.5 : 50.0;

  PhiloxStream shape = synth_stream(o.seed, SynthDraw::outline, slide);
  for (int h = 0; h < 4; ++h) {
    harmonic_[h] = 0.16 / (h + 1) * shape.normal() * 0.7;
    phase_[h] = shape.uniform_double() * 2 * std::numbers::pi;
  }

  // Array places on a square (ST) or hexagonal (Visium) lattice large enough for the lobes; the nearest `spots` stay.
  const double row_step = hex ? pitch_ * std::sqrt(0.75) : pitch_;
  const auto half = static_cast<std::int32_t>(std::ceil(1.6 * std::sqrt(static_cast<double>(o.spots) / 2.4))) + 3;
  struct Place {
    double rho, x, y;
    std::int32_t row, col;
  };
  std::vector<Place> places;
  for (std::int32_t r = -half; r <= half; ++r)
    for (std::int32_t c = -half; c <= half; ++c) {
      const double x = c * pitch_ + (hex && (r & 1) ? pitch_ / 2 : 0), y = r * row_step;
      // Visium counts columns in half pitches: 0, 2, 4 in even rows, 1, 3, 5 in odd ones
      places.push_back({outline(x, y), x, y, r, hex ? 2 * c + (r & 1) : c});
    }
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.rho < b.rho; });
  places.resize(static_cast<std::size_t>(o.spots));
  edge_ = places.back().rho + 0.45 * pitch_;

  const auto by_x = std::minmax_element(places.begin(), places.end(), [](auto& a, auto& b) { return a.x < b.x; });
  const auto by_y = std::minmax_element(places.begin(), places.end(), [](auto& a, auto& b) { return a.y < b.y; });
  const auto by_row = std::min_element(places.begin(), places.end(), [](auto& a, auto& b) { return a.row < b.row; });
  const auto by_col = std::min_element(places.begin(), places.end(), [](auto& a, auto& b) { return a.col < b.col; });
  const std::int32_t row0 = by_row->row & ~1, col0 = hex ? by_col->col & ~1 : by_col->col;
  const double margin = 1.5 * pitch_;  // white around the tissue, so that niche windows stay in the image
  cx_ = margin - by_x.first->x;
  cy_ = margin - by_y.first->y;
  width_ = std::llround((by_x.second->x - by_x.first->x + 2 * margin) / synth_um_per_px);
  height_ = std::llround((by_y.second->y - by_y.first->y + 2 * margin) / synth_um_per_px);

  // Spots in the order of the array, each a little off its place, as printed arrays are.
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.col != b.col ? a.col < b.col : a.row < b.row; });
  PhiloxStream jitter = synth_stream(o.seed, SynthDraw::array, slide);
  for (const Place& p : places) {
    x_.push_back(p.x + cx_ + 0.008 * pitch_ * jitter.normal());
    y_.push_back(p.y + cy_ + 0.008 * pitch_ * jitter.normal());
    row_.push_back(p.row - row0 + 1);
    col_.push_back(p.col - col0 + 1);
  }

  PhiloxStream rng = synth_stream(o.seed, SynthDraw::fields, slide);
  const double extent = 2 * edge_;
  for (std::int64_t k = 0; k < o.domains; ++k) domain_.emplace_back(rng, std::max(extent / 5.5, 2.2 * pitch_), 24);
  for (int l = 0; l < synth_latents; ++l) {
    smooth_[l] = SynthField(rng, 2.5 * pitch_, 24);
    // the spot's own part: short enough to differ between neighbours, long enough to show within a spot's window
    fine_[l] = SynthField(rng, 0.45 * pitch_, 48);
  }
}

double SynthTissue::outline(double dx, double dy) const {
  const double angle = std::atan2(dy, dx);
  double lobes = 1;
  for (int h = 0; h < 4; ++h) lobes += harmonic_[h] * std::cos((h + 2) * angle + phase_[h]);
  return std::hypot(dx, dy) / std::max(lobes, 0.55);
}

double SynthTissue::depth(double x, double y) const { return edge_ - outline(x - cx_, y - cy_); }

SynthPlace SynthTissue::at(double x, double y) const {
  SynthPlace place;
  place.share.resize(domain_.size());
  for (std::size_t k = 0; k < domain_.size(); ++k) place.share[k] = domain_[k](x, y);
  const auto top = std::max_element(place.share.begin(), place.share.end());
  place.domain = static_cast<std::int32_t>(top - place.share.begin());
  // sharp but continuous borders between domains
  const double high = *top;
  double sum = 0;
  for (double& s : place.share) sum += s = std::exp((s - high) / 0.12);
  for (double& s : place.share) s /= sum;
  for (int l = 0; l < synth_latents; ++l) place.latent[l] = std::sqrt(0.5) * (smooth_[l](x, y) + fine_[l](x, y));
  return place;
}

}  // namespace spn::data
