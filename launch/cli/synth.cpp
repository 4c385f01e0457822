// `spotniche synth`: made slides in a real layout. Slides are spread over the ranks.
#include "data/synth/synth.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "engine/core/check.h"
#include "engine/dist/together.h"
#include "launch/cli/command.h"
#include "launch/cli/options.h"

namespace spn::cli {
namespace {

// A folder with other files in it would mix two data sets without a word.
void check_empty(const std::string& output) {
  std::error_code error;
  if (std::filesystem::exists(output, error) && !std::filesystem::is_empty(output, error))
    fail_usage("synth", "--output {}: expected a new or empty directory; give another one or remove it", output);
}

}  // namespace

int run_synth(dist::Comm& world, const std::vector<std::string>& args) {
  data::SynthOptions o;
  Options table("synth", "Makes slides in a real layout, with a known spatial structure that image and genes share.");
  table.section("What");
  table.add("layout", &o.layout, "layout on disk: stimage-1k4m");
  table.add("slides", &o.slides, "number of slides");
  table.add("spots", &o.spots, "spots a slide");
  table.add("genes", &o.genes, "genes");
  table.add("domains", &o.domains, "spatial domains");
  table.add("technology", &o.technology, "ST (pitch 200 um) or Visium (100 um)");
  table.add("seed", &o.seed, "same seed, same bytes");
  table.section("Where");
  table.add("output", &o.output, "new directory");
  table.require("output");
  if (!table.parse(args, std::cout)) return exit_ok;
  data::check_synth_options(o);

  dist::together(world, "synth", [&] {
    if (world.rank() == 0) check_empty(o.output);
  });
  const auto start = std::chrono::steady_clock::now();
  dist::together(world, "synth", [&] {
    for (std::int64_t i = world.rank(); i < o.slides; i += world.size()) {
      const data::SynthSlide s = data::write_synth_slide(o, i);
      fmt::print("{}: {} spots, {} genes, image {} x {} px\n", s.name, s.x.size(), o.genes, s.width, s.height);
      std::fflush(stdout);
    }
    if (world.rank() == 0) data::write_synth_meta(o);
  });
  if (world.rank() == 0) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{} slides in {} ({:.1f} s); domains in {}/annotation\n", o.slides, o.output, seconds, o.output);
  }
  return exit_ok;
}

}  // namespace spn::cli
