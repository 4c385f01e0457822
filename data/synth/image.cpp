// Draws the slide: eosin-pink stroma with fibres, haematoxylin-purple nuclei, white glass. Work is done in optical
// density (Beer-Lambert), in bands of rows: every band draws all nuclei that reach into it in one fixed order, so the
// bytes do not depend on the number of threads.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/synth/tissue.h"

namespace spn::data {
namespace {

constexpr std::int64_t grid_px = 16;     // tissue state is evaluated at these and interpolated
constexpr std::int64_t cell_px = 8;      // at most one nucleus a cell: 10 µm
constexpr std::int64_t band_px = 64;     // a multiple of cell_px
constexpr std::int64_t reach_cells = 2;  // a nucleus reaches less than this far beyond its cell

// Per-place numbers that drawing needs.
struct Look {
  float depth, density, eosin, radius, fibre, lymphoid;
};

struct Grid {
  std::int64_t columns = 0, rows = 0;
  std::vector<Look> look;

  Look at(double x_px, double y_px) const {
    const double gx = std::clamp(x_px / grid_px, 0.0, static_cast<double>(columns) - 1.001);
    const double gy = std::clamp(y_px / grid_px, 0.0, static_cast<double>(rows) - 1.001);
    const auto c = static_cast<std::int64_t>(gx), r = static_cast<std::int64_t>(gy);
    const auto u = static_cast<float>(gx - static_cast<double>(c)), v = static_cast<float>(gy - static_cast<double>(r));
    const Look* p = &look[static_cast<std::size_t>(r * columns + c)];
    const Look* q = p + columns;
    const auto mix = [&](float Look::*m) {
      return (1 - v) * ((1 - u) * p[0].*m + u * p[1].*m) + v * ((1 - u) * q[0].*m + u * q[1].*m);
    };
    return {mix(&Look::depth),  mix(&Look::density), mix(&Look::eosin),
            mix(&Look::radius), mix(&Look::fibre),   mix(&Look::lymphoid)};
  }
};

Grid make_grid(const SynthTissue& tissue) {
  Grid grid;
  grid.columns = tissue.width_px() / grid_px + 2;
  grid.rows = tissue.height_px() / grid_px + 2;
  grid.look.resize(static_cast<std::size_t>(grid.columns * grid.rows));
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t r = 0; r < grid.rows; ++r)
    for (std::int64_t c = 0; c < grid.columns; ++c) {
      const double x = static_cast<double>(c * grid_px) * synth_um_per_px;
      const double y = static_cast<double>(r * grid_px) * synth_um_per_px;
      Look& look = grid.look[static_cast<std::size_t>(r * grid.columns + c)];
      look = {};
      look.depth = static_cast<float>(tissue.depth(x, y));
      if (look.depth < -4 * grid_px * synth_um_per_px) continue;
      const SynthPlace place = tissue.at(x, y);
      double density = 0, eosin = 0, radius = 0, fibre = 0, lymphoid = 0;
      for (std::size_t k = 0; k < place.share.size(); ++k) {
        const SynthTraits& t = tissue.traits()[k];
        density += place.share[k] * t.log_density;
        eosin += place.share[k] * t.eosin;
        radius += place.share[k] * t.radius_um;
        fibre += place.share[k] * t.fibre;
        lymphoid += place.share[k] * t.lymphoid;
      }
      look.density = static_cast<float>(std::exp(density + 0.45 * place.latent[0]));
      look.eosin = static_cast<float>(eosin * std::exp(0.28 * place.latent[1]));
      look.radius = static_cast<float>(radius);
      look.fibre = static_cast<float>(fibre);
      look.lymphoid = static_cast<float>(1 / (1 + std::exp(-(lymphoid + 1.3 * place.latent[2]))));
    }
  return grid;
}

// Stain of one slide: colours of haematoxylin and eosin as optical density, strengths, glass colour.
struct Stain {
  float haematoxylin[3], eosin[3], glass[3];
};

Stain draw_stain(const SynthOptions& o, std::int64_t slide) {
  PhiloxStream rng = synth_stream(o.seed, SynthDraw::stain, slide);
  const double h0[3] = {0.65, 0.70, 0.29}, e0[3] = {0.10, 0.87, 0.40};
  Stain s{};
  const double h = 1 + 0.08 * rng.normal(), e = 1 + 0.08 * rng.normal();
  for (int c = 0; c < 3; ++c) {
    s.haematoxylin[c] = static_cast<float>(h * h0[c] * (1 + 0.04 * rng.normal()));
    s.eosin[c] = static_cast<float>(e * e0[c] * (1 + 0.04 * rng.normal()));
    s.glass[c] = 243 + 4 * rng.uniform();
  }
  return s;
}

// Tileable value noise in [-1, 1] of three octaves.
class Texture {
 public:
  explicit Texture(PhiloxStream rng) : value_(size * size, 0.0f) {
    float weight = 0.5f;
    for (int step = 16; step >= 4; step /= 2, weight *= 0.7f) {
      const int n = size / step;
      std::vector<float> knot(static_cast<std::size_t>(n * n));
      for (float& k : knot) k = 2 * rng.uniform() - 1;
      for (std::int64_t y = 0; y < size; ++y)
        for (std::int64_t x = 0; x < size; ++x) {
          const std::int64_t i = x / step, j = y / step, i1 = (i + 1) % n, j1 = (j + 1) % n;
          const float u = static_cast<float>(x % step) / static_cast<float>(step);
          const float v = static_cast<float>(y % step) / static_cast<float>(step);
          const auto at = [&](std::int64_t a, std::int64_t b) { return knot[static_cast<std::size_t>(b * n + a)]; };
          value_[static_cast<std::size_t>(y * size + x)] +=
              weight * ((1 - v) * ((1 - u) * at(i, j) + u * at(i1, j)) + v * ((1 - u) * at(i, j1) + u * at(i1, j1)));
        }
    }
  }
  float operator()(std::int64_t x, std::int64_t y) const {
    return value_[static_cast<std::size_t>((y & (size - 1)) * size + (x & (size - 1)))];
  }

 private:
  static constexpr int size = 512;
  std::vector<float> value_;
};

// Adds the nucleus of one cell, if there is one, to the haematoxylin of rows [top, bottom).
void draw_nucleus(const SynthOptions& o, std::int64_t slide, const Grid& grid, std::int64_t width, std::int64_t cell_x,
                  std::int64_t cell_y, std::int64_t top, std::int64_t bottom, std::vector<float>& haematoxylin) {
  PhiloxStream rng = synth_stream(o.seed, SynthDraw::nuclei, slide, cell_y << 18 | cell_x);
  const double x0 = (static_cast<double>(cell_x) + rng.uniform()) * cell_px;
  const double y0 = (static_cast<double>(cell_y) + rng.uniform()) * cell_px;
  const Look look = grid.at(x0, y0);
  constexpr double cell_mm = cell_px * synth_um_per_px * 1e-3;
  if (look.depth < 4 || rng.uniform() > std::min(0.97, look.density * cell_mm * cell_mm)) return;
  const bool lymphoid = rng.uniform() < look.lymphoid;
  // lymphocytes: small, round, dark; the others larger, paler, drawn out where the stroma is fibrous
  const double radius = (lymphoid ? 2.5 : look.radius) * (0.85 + 0.3 * rng.uniform()) / synth_um_per_px;
  const double stretch = lymphoid ? 1.0 : 1.0 + 0.7 * look.fibre * rng.uniform();
  const double angle = std::numbers::pi * (look.fibre > 0.5f ? 0.2 * rng.uniform() : rng.uniform());
  const double strength = (lymphoid ? 1.25 : 0.7) * (0.85 + 0.3 * rng.uniform());
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const auto reach = static_cast<std::int64_t>(std::ceil(radius * stretch)) + 1;
  const auto px = static_cast<std::int64_t>(x0), py = static_cast<std::int64_t>(y0);
  for (std::int64_t y = std::max(top, py - reach); y < std::min(bottom, py + reach + 1); ++y)
    for (std::int64_t x = std::max<std::int64_t>(0, px - reach); x < std::min(width, px + reach + 1); ++x) {
      const double dx = static_cast<double>(x) + 0.5 - x0, dy = static_cast<double>(y) + 0.5 - y0;
      const double a = (dx * cosine + dy * sine) / (radius * stretch), b = (dy * cosine - dx * sine) * stretch / radius;
      const double inside = (1 - std::sqrt(a * a + b * b)) * radius;  // px within the rim
      if (inside <= -0.5) continue;
      float& h = haematoxylin[static_cast<std::size_t>((y - top) * width + x)];
      h = std::max(h, static_cast<float>(strength * std::min(1.0, inside + 0.5)));
    }
}

}  // namespace

std::vector<std::uint8_t> synth_image(const SynthOptions& o, std::int64_t slide) {
  const SynthTissue tissue(o, slide);
  const Grid grid = make_grid(tissue);
  const Stain stain = draw_stain(o, slide);
  const Texture texture(synth_stream(o.seed, SynthDraw::texture, slide));
  const std::int64_t width = tissue.width_px(), height = tissue.height_px();
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width * height * 3));
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t top = 0; top < height; top += band_px) {
    const std::int64_t bottom = std::min(height, top + band_px);
    std::vector<float> haematoxylin(static_cast<std::size_t>((bottom - top) * width), 0.0f);
    for (std::int64_t cy = std::max<std::int64_t>(0, top / cell_px - reach_cells);
         cy < (bottom + cell_px - 1) / cell_px + reach_cells; ++cy)
      for (std::int64_t cx = 0; cx * cell_px < width; ++cx)
        draw_nucleus(o, slide, grid, width, cx, cy, top, bottom, haematoxylin);

    for (std::int64_t y = top; y < bottom; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        std::uint8_t* pixel = &rgb[static_cast<std::size_t>((y * width + x) * 3)];
        const Look look = grid.at(static_cast<double>(x), static_cast<double>(y));
        const float grain = texture(x * 3, y * 3);  // finer than a nucleus
        // tissue covers the pixel over a ragged edge of some µm
        const float cover = std::clamp((look.depth + 12 * texture(x, y)) / 6 + 0.5f, 0.0f, 1.0f);
        if (cover == 0) {
          for (int c = 0; c < 3; ++c) pixel[c] = static_cast<std::uint8_t>(stain.glass[c]);
          continue;
        }
        const float fibres = texture(x / 4 + y / 8, y * 2 - x / 2);
        const float pink = look.eosin * (1 + 0.12f * grain + 0.55f * look.fibre * fibres);
        const float purple =
            haematoxylin[static_cast<std::size_t>((y - top) * width + x)] * (1 + 0.15f * grain) + 0.03f;
        for (int c = 0; c < 3; ++c) {
          const float density = cover * (pink * stain.eosin[c] + purple * stain.haematoxylin[c]);
          const float light = stain.glass[c] * std::exp(-density) + 1.5f * grain;
          pixel[c] = static_cast<std::uint8_t>(std::clamp(light, 0.0f, 255.0f));
        }
      }
  }
  return rgb;
}

}  // namespace spn::data
