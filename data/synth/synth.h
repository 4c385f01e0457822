// Made slides in a real layout, with known spatial structure that image and expression really share: spatial domains,
// and three continuous latents (cellularity, eosin strength, cell kind). For tests, quickstart and benchmarks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::data {

struct SynthOptions {
  std::string layout = "stimage-1k4m";  // the one that exists
  std::string technology = "ST";        // ST (square array, pitch 200 µm) or Visium (hexagonal, 100 µm)
  std::int64_t slides = 4;
  std::int64_t spots = 200;  // a slide
  std::int64_t genes = 600;
  std::int64_t domains = 5;
  std::uint64_t seed = 42;
  std::string output;  // directory
};

constexpr int synth_latents = 3;
constexpr double synth_um_per_px = 1.25;

// What drives expression, shared by all slides of one seed.
struct SynthPanel {
  std::vector<std::string> genes;
  std::vector<double> base;                  // [genes] log of the mean share
  std::vector<std::int32_t> marker_of;       // [genes] domain that raises this gene, -1 none
  std::vector<std::vector<double>> domain;   // [domains][genes] log fold
  std::vector<std::vector<double>> loading;  // [synth_latents][genes] log fold per unit of the latent
};

// One slide's spots and what is true of them. Pixel coordinates of the image.
struct SynthSlide {
  std::string name;
  std::int64_t width = 0, height = 0;  // px
  std::vector<std::string> spot_name;  // {name}_{native}
  std::vector<double> x, y;
  double r = 0;                               // spot radius, px
  std::vector<std::int32_t> domain;           // [spots]
  std::vector<double> latent[synth_latents];  // each [spots], about N(0, 1)
  std::vector<std::int32_t> counts;           // [spots, genes] row-major
};

// Usage errors for an unknown layout or technology (naming those that exist) and for sizes out of range.
void check_synth_options(const SynthOptions&);

std::string synth_slide_name(const SynthOptions&, std::int64_t index);

SynthPanel synth_panel(const SynthOptions&);

// Spots, truth and counts of slide `index`; a value depends on the seed, the index and the options alone.
SynthSlide synth_slide(const SynthOptions&, std::int64_t index);

// The slide's image, [height, width, 3] RGB.
std::vector<std::uint8_t> synth_image(const SynthOptions&, std::int64_t index);

// Writes the files of one slide below options.output (image, coord, gene_exp, annotation), each complete under its
// final name or absent. Data error when the disk is full or not writable.
SynthSlide write_synth_slide(const SynthOptions&, std::int64_t index);

// Writes meta/meta_all_gene.csv for all slides.
void write_synth_meta(const SynthOptions&);

}  // namespace spn::data
