// The plan of one made slide: tissue outline, spot array, domain fields and latents. Image and expression both read it.
#pragma once

#include <cstdint>
#include <vector>

#include "data/synth/synth.h"
#include "engine/core/philox.h"

namespace spn::data {

// Which stream of randomness: one per slide, purpose and item, so that no draw depends on another's count.
enum class SynthDraw : std::uint64_t { panel = 1, traits, outline, fields, array, stain, counts, texture, nuclei };
PhiloxStream synth_stream(std::uint64_t seed, SynthDraw draw, std::int64_t slide = 0, std::int64_t item = 0);

// A smooth random function of the plane, about N(0, 1) everywhere, correlated over `length` µm (sum of plane waves).
class SynthField {
 public:
  SynthField() = default;
  SynthField(PhiloxStream& rng, double length_um, int waves);
  double operator()(double x_um, double y_um) const;

 private:
  struct Wave {
    double kx, ky, phase;
  };
  std::vector<Wave> waves_;
};

// How one domain looks; levels are spread evenly over the domains, in an order drawn per trait.
struct SynthTraits {
  double log_density;  // ln of nuclei per mm²
  double eosin;        // optical density of the stroma
  double radius_um;    // nucleus
  double fibre;        // strength of the fibre texture, 0..1
  double lymphoid;     // logit of the share of small dark nuclei
};

// State of the tissue at one place.
struct SynthPlace {
  std::int32_t domain = 0;
  std::vector<double> share;  // [domains] soft membership, sums to 1
  double latent[synth_latents] = {};
};

class SynthTissue {
 public:
  SynthTissue(const SynthOptions&, std::int64_t slide);

  // Coordinates are µm from the image's upper left corner.
  SynthPlace at(double x_um, double y_um) const;
  bool inside(double x_um, double y_um) const { return depth(x_um, y_um) > 0; }
  // Signed distance-like measure, µm: positive inside the tissue.
  double depth(double x_um, double y_um) const;

  std::int64_t width_px() const { return width_; }
  std::int64_t height_px() const { return height_; }
  double pitch_um() const { return pitch_; }
  double spot_radius_um() const { return radius_; }
  const std::vector<double>& spot_x_um() const { return x_; }
  const std::vector<double>& spot_y_um() const { return y_; }
  const std::vector<std::int32_t>& array_row() const { return row_; }
  const std::vector<std::int32_t>& array_col() const { return col_; }
  const std::vector<SynthTraits>& traits() const { return traits_; }

 private:
  double outline(double dx, double dy) const;  // distance from the centre, scaled so that the outline is a circle
  double pitch_ = 0, radius_ = 0, edge_ = 0, cx_ = 0, cy_ = 0;
  double harmonic_[4] = {}, phase_[4] = {};
  std::int64_t width_ = 0, height_ = 0;
  std::vector<double> x_, y_;
  std::vector<std::int32_t> row_, col_;
  std::vector<SynthField> domain_;
  SynthField smooth_[synth_latents], fine_[synth_latents];
  std::vector<SynthTraits> traits_;
};

}  // namespace spn::data
