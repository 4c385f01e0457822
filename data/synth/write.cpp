// Files of the STimage-1K4M layout: {ST,Visium}/{image,coord,gene_exp}, annotation, meta.
#include <fmt/format.h>
#include <png.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "data/synth/synth.h"
#include "engine/core/check.h"

namespace spn::data {
namespace {

namespace fs = std::filesystem;
constexpr const char* where = "synth";

// Writes through `fill` to a file beside the final name, then renames it: a full disk leaves nothing under that name.
template <class F>
void write_file(const fs::path& path, F&& fill) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) fail_data(where, "cannot make directory {}: {}", path.parent_path().string(), error.message());
  const fs::path part = path.string() + ".part";
  try {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(part.c_str(), "wb"), &std::fclose);
    if (!file) fail_data(where, "cannot write {}: {}", part.string(), std::strerror(errno));
    fill(file.get());
    const bool bad = std::fflush(file.get()) != 0 || std::ferror(file.get()) != 0;
    if (std::fclose(file.release()) != 0 || bad)
      fail_data(where, "cannot write {}: {}; is the disk full?", path.string(), std::strerror(errno));
    fs::rename(part, path);
  } catch (const fs::filesystem_error& e) {
    fs::remove(part, error);
    fail_data(where, "cannot rename to {}: {}", path.string(), e.code().message());
  } catch (...) {
    fs::remove(part, error);
    throw;
  }
}

void write_text(const fs::path& path, std::string_view text) {
  write_file(path, [&](std::FILE* f) { std::fwrite(text.data(), 1, text.size(), f); });
}

void write_png(const fs::path& path, const SynthSlide& s, const std::vector<std::uint8_t>& rgb) {
  write_file(path, [&](std::FILE* f) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(s.width);
    image.height = static_cast<png_uint_32>(s.height);
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST;
    if (!png_image_write_to_stdio(&image, f, 0, rgb.data(), 0, nullptr))
      fail_data(where, "cannot write {}: {}", path.string(), std::string_view(image.message));
  });
}

// All fields quoted, quotes doubled: how the real metadata comes.
std::string quoted(const std::array<std::string, 11>& fields) {
  std::string line;
  for (const std::string& field : fields) {
    line += line.empty() ? "\"" : ",\"";
    for (const char c : field) line.append(c == '"' ? 2 : 1, c);
    line += '"';
  }
  return line + "\n";
}

}  // namespace

void check_synth_options(const SynthOptions& o) {
  if (o.layout != "stimage-1k4m")
    fail_usage(where, "--layout: expected stimage-1k4m (the only one that exists), got '{}'", o.layout);
  if (o.technology != "ST" && o.technology != "Visium")
    fail_usage(where, "--technology: expected ST or Visium, got '{}'", o.technology);
  const auto range = [](const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
    if (value < low || value > high) fail_usage(where, "--{}: expected {} to {}, got {}", name, low, high, value);
  };
  range("slides", o.slides, 1, 100000);
  range("spots", o.spots, 4, 14336);
  range("genes", o.genes, 20, 60000);
  range("domains", o.domains, 2, 16);
  if (o.output.empty()) fail_usage(where, "give --output DIR: where the slides are written");
}

SynthSlide write_synth_slide(const SynthOptions& o, std::int64_t index) {
  const SynthSlide s = synth_slide(o, index);
  const fs::path root(o.output), array = root / o.technology;

  write_png(array / "image" / (s.name + ".png"), s, synth_image(o, index));

  fmt::memory_buffer text;
  const auto out = std::back_inserter(text);
  const auto flush = [&](const fs::path& path) {
    write_text(path, {text.data(), text.size()});
    text.clear();
  };
  fmt::format_to(out, ",yaxis,xaxis,r\n");
  for (std::size_t i = 0; i < s.x.size(); ++i)
    fmt::format_to(out, "{},{:.2f},{:.2f},{}\n", s.spot_name[i], s.y[i], s.x[i], s.r);
  flush(array / "coord" / (s.name + "_coord.csv"));

  fmt::format_to(out, ",cluster\n");
  for (std::size_t i = 0; i < s.x.size(); ++i) fmt::format_to(out, "{},{}\n", s.spot_name[i], s.domain[i]);
  flush(root / "annotation" / (s.name + "_cluster.csv"));

  const SynthPanel panel = synth_panel(o);
  for (const std::string& gene : panel.genes) fmt::format_to(out, ",{}", gene);
  const std::size_t genes = panel.genes.size();
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    fmt::format_to(out, "\n{}", s.spot_name[i]);
    for (std::size_t g = 0; g < genes; ++g) fmt::format_to(out, ",{}", s.counts[i * genes + g]);
  }
  fmt::format_to(out, "\n");
  flush(array / "gene_exp" / (s.name + "_count.csv"));
  return s;
}

void write_synth_meta(const SynthOptions& o) {
  std::string text = quoted({"slide", "species", "tissue", "pmid", "title", "abstract", "keywords", "involve_cancer",
                             "tech", "spot_num", "gene_num"});
  for (std::int64_t i = 0; i < o.slides; ++i)
    text += quoted({synth_slide_name(o, i), "synthetic", "synthetic", "", "Made slides, with known domains", "", "",
                    "False", o.technology, std::to_string(o.spots), std::to_string(o.genes)});
  write_text(fs::path(o.output) / "meta" / "meta_all_gene.csv", text);
}

}  // namespace spn::data
