#include "tests/support/made_slides.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "engine/core/philox.h"
#include "tests/support/made_images.h"

namespace spn::test {
namespace {

namespace fs = std::filesystem;

constexpr int kStep = 40, kRim = 25;  // px

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

struct Tables {
  std::string coord = ",yaxis,xaxis,r\n", count, anno = ",cluster\n";
};

Tables tables(const std::string& slide, int columns, int rows, std::uint64_t stream) {
  Tables t;
  t.count = "";
  for (int g = 0; g < 12; ++g) t.count += fmt::format(",G{}", g);
  t.count += ",ONLY_" + slide + "\n";
  PhiloxStream random(7, RandomUse::test, stream);
  for (int c = 0; c < columns; ++c)
    for (int r = 0; r < rows; ++r) {
      const std::string id = fmt::format("{}_{}x{}", slide, c, r);
      // steps of exactly kStep px, and a fraction
      t.coord += fmt::format("{},{},{},3.5\n", id, kRim + kStep * r + 0.25, kRim + kStep * c + 0.5);
      t.count += id;
      for (int g = 0; g < 13; ++g) t.count += fmt::format(",{}", random.below(g + 2) * random.below(3) + (g == 0));
      t.count += "\n";
      if ((c + r) % 3) t.anno += fmt::format("{},zone {}\n", id, (c + r) % 3);
    }
  return t;
}

}  // namespace

void make_slides(const std::string& folder) {
  const fs::path st = fs::path(folder) / "ST";
  fs::create_directories(st / "image");
  Tables p = tables("P_ST", 6, 5, 1), j = tables("J_ST", 4, 4, 2), t = tables("T_ST", 3, 3, 3);
  p.count += "P_ST_90x90,0,0,0,0,0,0,0,0,0,0,0,0,0\nP_ST_91x91,1,1,1,1,1,1,1,1,1,1,1,1,1\n";
  p.coord += fmt::format("P_ST_90x90,{},{},3.5\nP_ST_92x92,{},{},3.5\n", kRim + 0.25, kRim + 6 * kStep + 0.5,
                         kRim + kStep + 0.25, kRim + 6 * kStep + 0.5);
  j.count += "J_ST_80x80,1,1,1,1,1,1,1,1,1,1,1,1,1\n";
  j.coord += fmt::format("J_ST_80x80,{},{},3.5\n", kRim + 4 * kStep + 0.25, kRim + 0.5);
  const auto write = [&](const std::string& slide, const Tables& s) {
    put(st / "coord" / (slide + "_coord.csv"), s.coord);
    put(st / "gene_exp" / (slide + "_count.csv"), s.count);
  };
  write("P_ST", p);
  write("J_ST", j);
  write("T_ST", t);
  put(fs::path(folder) / "annotation" / "J_ST_cluster.csv", j.anno);
  put(fs::path(folder) / "meta" / "meta_all_gene.csv",
      "slide,species,tissue,tech\nP_ST,human,\"skin, left\",ST\nJ_ST,human,breast,ST\nT_ST,mouse,brain,ST\n");
  write_png((st / "image" / "P_ST.png").string(), 2 * kRim + 6 * kStep, 2 * kRim + 4 * kStep, {});
  write_jpeg((st / "image" / "J_ST.png").string(), 2 * kRim + 3 * kStep, kRim + 3 * kStep + 30);
  write_tiff((st / "image" / "T_ST.png").string(), 2 * kRim + 2 * kStep, 2 * kRim + 2 * kStep,
             {.planes = true, .tile = 16});
}

}  // namespace spn::test
