// Gene programmes and counts. Log rates are a base level, a domain programme and loadings on the latents; counts are
// negative binomial (a Poisson of a Gamma) around the spot's depth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/synth/tissue.h"

namespace spn::data {
namespace {

// Gamma of shape >= 1 and scale 1 (Marsaglia and Tsang 2000).
double draw_gamma(PhiloxStream& rng, double shape) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = rng.normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double u = 1 - rng.uniform_double();  // (0, 1]
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

// Exact Poisson: large means are cut down by order statistics of a Poisson process (Ahrens and Dieter 1974).
std::int32_t draw_poisson(PhiloxStream& rng, double mean) {
  std::int32_t count = 0;
  while (mean > 16) {
    const auto m = static_cast<std::int32_t>(mean * 7 / 8);
    const double x = draw_gamma(rng, m);  // time of the m-th event
    if (x > mean) {
      for (std::int32_t i = 1; i < m; ++i) count += rng.uniform_double() < mean / x;
      return count;
    }
    count += m;
    mean -= x;
  }
  const double limit = std::exp(-mean);
  for (double product = rng.uniform_double(); product > limit; product *= rng.uniform_double()) ++count;
  return count;
}

constexpr double dispersion = 12;  // variance = mean + mean² / dispersion

}  // namespace

std::string synth_slide_name(const SynthOptions& o, std::int64_t index) {
  return fmt::format("Synthetic_Tissue_seed{}_{}_S{}", o.seed, o.technology, index + 1);
}

SynthPanel synth_panel(const SynthOptions& o) {
  PhiloxStream rng = synth_stream(o.seed, SynthDraw::panel);
  const auto n = static_cast<std::size_t>(o.genes), domains = static_cast<std::size_t>(o.domains);
  SynthPanel p;
  p.domain.assign(domains, std::vector<double>(n, 0.0));
  p.loading.assign(synth_latents, std::vector<double>(n, 0.0));
  for (std::size_t g = 0; g < n; ++g) {
    p.genes.push_back(fmt::format("SYN{:05}", g + 1));
    p.base.push_back(1.1 * rng.normal());
    std::int32_t marker = -1;
    const double kind = rng.uniform_double();
    if (kind < 0.40) {  // raised in one domain
      marker = static_cast<std::int32_t>(rng.below(domains));
      p.domain[static_cast<std::size_t>(marker)][g] = 0.8 + 1.0 * rng.uniform_double();
    } else if (kind < 0.85) {  // follows one latent, up or down
      const auto l = rng.below(synth_latents);
      const double size = 0.45 + 0.5 * rng.uniform_double();
      p.loading[l][g] = rng.uniform_double() < 0.5 ? -size : size;
    }  // the rest is housekeeping
    p.marker_of.push_back(marker);
  }
  return p;
}

SynthSlide synth_slide(const SynthOptions& o, std::int64_t index) {
  const SynthTissue tissue(o, index);
  const SynthPanel panel = synth_panel(o);
  const bool visium = o.technology == "Visium";
  SynthSlide s;
  s.name = synth_slide_name(o, index);
  s.width = tissue.width_px();
  s.height = tissue.height_px();
  s.r = tissue.spot_radius_um() / synth_um_per_px;

  // Slides differ in the level of each gene, as batches do.
  PhiloxStream batch = synth_stream(o.seed, SynthDraw::counts, index);
  std::vector<double> base(panel.base);
  for (double& b : base) b += 0.15 * batch.normal();

  const auto n = static_cast<std::size_t>(o.spots), genes = base.size();
  s.counts.resize(n * genes);
  std::vector<double> rate(genes);
  for (std::size_t i = 0; i < n; ++i) {
    const double x = tissue.spot_x_um()[i], y = tissue.spot_y_um()[i];
    std::string native = fmt::format("{}x{}", tissue.array_col()[i], tissue.array_row()[i]);
    if (visium) {  // a barcode: 16 letters of base 4, one to one with the spot's number
      auto code = static_cast<std::uint32_t>(i + 1) * 2654435761u;
      native.assign(16, 'A');
      for (char& letter : native) letter = "ACGT"[code & 3], code >>= 2;
      native += "-1";
    }
    s.spot_name.push_back(s.name + "_" + native);
    s.x.push_back(x / synth_um_per_px);
    s.y.push_back(y / synth_um_per_px);
    const SynthPlace place = tissue.at(x, y);
    s.domain.push_back(place.domain);
    for (int l = 0; l < synth_latents; ++l) s.latent[l].push_back(place.latent[l]);

    double sum = 0;
    for (std::size_t g = 0; g < genes; ++g) {
      double log_rate = base[g];
      for (std::size_t k = 0; k < place.share.size(); ++k) log_rate += place.share[k] * panel.domain[k][g];
      for (std::size_t l = 0; l < synth_latents; ++l) log_rate += place.latent[l] * panel.loading[l][g];
      sum += rate[g] = std::exp(log_rate);
    }
    PhiloxStream rng = synth_stream(o.seed, SynthDraw::counts, index, static_cast<std::int64_t>(i) + 1);
    // depth: about 10 counts a gene, more where there are more cells
    const double depth = 10.0 * static_cast<double>(genes) * std::exp(0.2 * place.latent[0] + 0.25 * rng.normal());
    for (std::size_t g = 0; g < genes; ++g) {
      const double mean = depth * rate[g] / sum;
      s.counts[i * genes + g] = draw_poisson(rng, mean * draw_gamma(rng, dispersion) / dispersion);
    }
  }
  return s;
}

}  // namespace spn::data
