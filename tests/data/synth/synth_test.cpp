// Made slides: same bytes for a seed, ids that agree over files, and structure that image and expression share.
#include "data/synth/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "engine/core/check.h"

namespace spn::data {
namespace {

namespace fs = std::filesystem;

struct TempDir {
  TempDir() {
    std::string name = (fs::temp_directory_path() / "spn-synth-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

SynthOptions small(const fs::path& output, const std::string& technology = "ST") {
  SynthOptions o;
  o.technology = technology;
  o.slides = 2;
  o.spots = 60;
  o.genes = 80;
  o.output = output.string();
  return o;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::map<std::string, std::string> files_below(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), root).string()] = bytes_of(entry.path());
  return files;
}

void write_all(const SynthOptions& o) {
  for (std::int64_t i = 0; i < o.slides; ++i) write_synth_slide(o, i);
  write_synth_meta(o);
}

std::vector<std::string> first_column(const std::string& text) {
  std::vector<std::string> ids;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) ids.push_back(line.substr(0, line.find(',')));
  return ids;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double ma = std::accumulate(a.begin(), a.end(), 0.0) / n, mb = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

// log1p of counts per 10,000, one row a spot.
std::vector<std::vector<double>> expression(const SynthSlide& s, std::size_t genes) {
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    const auto* c = &s.counts[i * genes];
    const double sum = std::accumulate(c, c + genes, 0.0);
    EXPECT_GT(sum, 0);
    std::vector<double> row;
    for (std::size_t g = 0; g < genes; ++g) row.push_back(std::log1p(1e4 * c[g] / sum));
    rows.push_back(std::move(row));
  }
  return rows;
}

// Signed mean of the genes that load on a latent.
std::vector<double> programme_score(const SynthPanel& p, const std::vector<std::vector<double>>& x, int latent) {
  std::vector<double> score;
  for (const auto& row : x) {
    double sum = 0;
    for (std::size_t g = 0; g < row.size(); ++g) sum += p.loading[static_cast<std::size_t>(latent)][g] * row[g];
    score.push_back(sum);
  }
  return score;
}

// Mean over the spot's 100 µm window of a number made of a pixel.
template <class F>
std::vector<double> window_mean(const SynthSlide& s, const std::vector<std::uint8_t>& rgb, F&& of_pixel) {
  const auto half = static_cast<std::int64_t>(50 / synth_um_per_px);
  std::vector<double> means;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    double sum = 0;
    for (std::int64_t y = std::llround(s.y[i]) - half; y < std::llround(s.y[i]) + half; ++y)
      for (std::int64_t x = std::llround(s.x[i]) - half; x < std::llround(s.x[i]) + half; ++x)
        sum += of_pixel(&rgb[static_cast<std::size_t>((y * s.width + x) * 3)]);
    means.push_back(sum / static_cast<double>(4 * half * half));
  }
  return means;
}

// A pixel of a nucleus is dark in red, which eosin hardly absorbs.
double nuclear(const std::uint8_t* p) { return p[0] < 185; }
double pink(const std::uint8_t* p) { return p[0] < 185 ? 0.0 : -std::log((p[1] + 1) / 256.0); }

// The residual of a after the mean within each domain is taken out: what the continuous latents must explain.
std::vector<double> within_domain(std::vector<double> a, const SynthSlide& s) {
  std::map<std::int32_t, std::pair<double, int>> mean;
  for (std::size_t i = 0; i < a.size(); ++i) mean[s.domain[i]].first += a[i], ++mean[s.domain[i]].second;
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= mean[s.domain[i]].first / mean[s.domain[i]].second;
  return a;
}

TEST(Synth, SameSeedSameBytesWhateverElseIsWritten) {
  for (const char* technology : {"ST", "Visium"}) {
    TempDir a, b, c;
    write_all(small(a.path, technology));
    SynthOptions backwards = small(b.path, technology);
    write_synth_meta(backwards);
    for (const std::int64_t i : {1, 0}) write_synth_slide(backwards, i);
    const auto first = files_below(a.path);
    EXPECT_EQ(first.size(), 9u);  // 2 x (image, coord, gene_exp, annotation) + meta
    EXPECT_TRUE(first == files_below(b.path));

    SynthOptions other = small(c.path, technology);
    other.seed = 43;
    write_all(other);
    const auto second = files_below(c.path);
    EXPECT_NE(first.begin()->second, second.begin()->second);
  }
}

TEST(Synth, SlidesDiffer) {
  TempDir d;
  const SynthOptions o = small(d.path);
  EXPECT_NE(synth_slide(o, 0).counts, synth_slide(o, 1).counts);
  EXPECT_NE(synth_image(o, 0), synth_image(o, 1));
}

TEST(Synth, FilesAgreeOnSpots) {
  for (const char* technology : {"ST", "Visium"}) {
    TempDir d;
    const SynthOptions o = small(d.path, technology);
    write_all(o);
    const SynthSlide s = synth_slide(o, 0);
    const fs::path array = d.path / technology;
    const auto coord = first_column(bytes_of(array / "coord" / (s.name + "_coord.csv")));
    EXPECT_EQ(coord.size(), 61u);
    EXPECT_EQ(coord, first_column(bytes_of(array / "gene_exp" / (s.name + "_count.csv"))));
    EXPECT_EQ(coord, first_column(bytes_of(d.path / "annotation" / (s.name + "_cluster.csv"))));
    EXPECT_EQ(std::set<std::string>(coord.begin(), coord.end()).size(), 61u);
    for (std::size_t i = 1; i < coord.size(); ++i) {
      EXPECT_EQ(coord[i].rfind(s.name + "_", 0), 0u) << coord[i];
      EXPECT_EQ(coord[i], s.spot_name[i - 1]);
    }
    EXPECT_EQ(bytes_of(array / "coord" / (s.name + "_coord.csv")).rfind(",yaxis,xaxis,r\n", 0), 0u);
    const std::string meta = bytes_of(d.path / "meta" / "meta_all_gene.csv");
    EXPECT_EQ(meta.rfind("\"slide\",\"species\"", 0), 0u);
    EXPECT_NE(meta.find('"' + s.name + '"'), std::string::npos);
    // every niche window (two pitches wide) lies in the image
    const double half = (o.technology == "ST" ? 200 : 100) / synth_um_per_px;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      EXPECT_GT(std::min(s.x[i], s.y[i]), half);
      EXPECT_LT(s.x[i], static_cast<double>(s.width) - half);
      EXPECT_LT(s.y[i], static_cast<double>(s.height) - half);
    }
  }
}

TEST(Synth, PitchIsTheArrays) {
  for (const auto& [technology, pitch] : {std::pair{"ST", 200.0}, std::pair{"Visium", 100.0}}) {
    const SynthSlide s = synth_slide(small("unused", technology), 0);
    double sum = 0;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      double nearest = 1e9;
      for (std::size_t j = 0; j < s.x.size(); ++j)
        if (j != i) nearest = std::min(nearest, std::hypot(s.x[i] - s.x[j], s.y[i] - s.y[j]));
      sum += nearest;
    }
    EXPECT_NEAR(sum / static_cast<double>(s.x.size()) * synth_um_per_px, pitch, 0.03 * pitch);
  }
}

TEST(Synth, ImageAndExpressionShareStructure) {
  SynthOptions o;
  o.output = "unused";
  const SynthPanel panel = synth_panel(o);
  for (std::int64_t slide = 0; slide < 2; ++slide) {
    const SynthSlide s = synth_slide(o, slide);
    const auto rgb = synth_image(o, slide);
    const auto x = expression(s, panel.genes.size());
    std::vector<double> score[synth_latents];
    for (int l = 0; l < synth_latents; ++l) {
      score[l] = within_domain(programme_score(panel, x, l), s);
      EXPECT_GT(correlation(score[l], within_domain(s.latent[l], s)), 0.8) << "latent " << l;
    }
    const auto nuclei = within_domain(window_mean(s, rgb, nuclear), s);
    const auto stroma = within_domain(window_mean(s, rgb, pink), s);
    const double density = correlation(nuclei, score[0]), eosin = correlation(stroma, score[1]);
    RecordProperty("density", std::to_string(density));
    RecordProperty("eosin", std::to_string(eosin));
    EXPECT_GT(density, 0.5);
    EXPECT_GT(eosin, 0.5);
  }
}

TEST(Synth, DomainsAreRecoverableFromExpressionOfAnotherSlide) {
  SynthOptions o;
  o.output = "unused";
  const auto genes = static_cast<std::size_t>(o.genes);
  const auto domains = static_cast<std::size_t>(o.domains);
  std::vector<std::vector<double>> centre(domains, std::vector<double>(genes, 0.0));
  std::vector<int> count(domains, 0);
  for (std::int64_t slide = 0; slide < 3; ++slide) {
    const SynthSlide s = synth_slide(o, slide);
    const auto x = expression(s, genes);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto k = static_cast<std::size_t>(s.domain[i]);
      ++count[k];
      for (std::size_t g = 0; g < genes; ++g) centre[k][g] += x[i][g];
    }
  }
  const SynthSlide s = synth_slide(o, 3);
  const auto x = expression(s, genes);
  int right = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::size_t best = 0;
    double best_distance = 1e300;
    for (std::size_t k = 0; k < domains; ++k) {
      ASSERT_GT(count[k], 0) << "domain " << k << " never occurs";
      double distance = 0;
      for (std::size_t g = 0; g < genes; ++g) distance += std::pow(x[i][g] - centre[k][g] / count[k], 2);
      if (distance < best_distance) best = k, best_distance = distance;
    }
    right += best == static_cast<std::size_t>(s.domain[i]);
  }
  EXPECT_GT(static_cast<double>(right) / static_cast<double>(x.size()), 0.85);
}

TEST(Synth, GlassIsWhiteAndTissueIsNot) {
  SynthOptions o;
  o.output = "unused";
  const SynthSlide s = synth_slide(o, 0);
  const auto rgb = synth_image(o, 0);
  for (int c = 0; c < 3; ++c) EXPECT_GT(rgb[static_cast<std::size_t>(c)], 230);
  for (const double v : window_mean(s, rgb, [](const std::uint8_t* p) { return p[1]; })) EXPECT_LT(v, 225);
}

TEST(Synth, UsageErrorsNameWhatExists) {
  const auto message = [](SynthOptions o) -> std::string {
    try {
      check_synth_options(o);
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), exit_usage);
      return e.what();
    }
    return "";
  };
  SynthOptions o;
  o.output = "somewhere";
  EXPECT_EQ(message(o), "");
  o.layout = "hest";
  EXPECT_NE(message(o).find("stimage-1k4m"), std::string::npos);
  o.layout = "stimage-1k4m";
  o.technology = "Xenium";
  EXPECT_NE(message(o).find("ST or Visium"), std::string::npos);
  o.technology = "ST";
  o.spots = 0;
  EXPECT_NE(message(o).find("--spots"), std::string::npos);
  o.spots = 10;
  o.output = "";
  EXPECT_NE(message(o).find("--output"), std::string::npos);
}

TEST(Synth, AFailedWriteLeavesNothingBehind) {
  TempDir d;
  SynthOptions o = small(d.path);
  // a file stands where a folder must be: nothing can be written below it
  std::ofstream(d.path / "ST") << "in the way";
  try {
    write_synth_slide(o, 0);
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data);
  }
  EXPECT_EQ(files_below(d.path).size(), 1u);
}

}  // namespace
}  // namespace spn::data
