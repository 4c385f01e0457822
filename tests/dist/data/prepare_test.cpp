// The whole of prepare at 1, 2 and 4 ranks: the same pack whatever the number of ranks, every number in it accounted
// for, one rank's bad slide an error on all of them with nothing left behind.
#include "data/prepare/prepare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "data/genes/normalise.h"
#include "data/pack/reader.h"
#include "tests/support/errors.h"
#include "tests/support/made_images.h"
#include "tests/support/made_slides.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

// Slides made once by rank 0, and options that read them.
struct Setting {
  test::TempFolder folder{test::world()};
  PrepareOptions options;
  Setting() {
    if (test::world().rank() == 0) test::make_slides(folder / "in");
    test::world().barrier();
    options.input = folder / "in";
    options.output = folder / "pack.h5";
    options.gene_count = 8;
    options.spot_image_px = 8;
    options.niche_image_px = 12;
    options.spot_window_um = 50;
    options.version = "test";
  }
  void damage(const std::string& file, const std::string& text) const {
    if (test::world().rank() == 0) std::ofstream(folder / ("in/ST/" + file), std::ios::binary) << text;
    test::world().barrier();
  }
  std::string refusal(ErrorKind kind = ErrorKind::data) const {
    const std::string what = test::error_of(kind, [&] { prepare(test::world(), options); });
    test::world().barrier();
    EXPECT_EQ(folder.files(), std::vector<std::string>{"in"}) << what;
    return what;
  }
};

TEST(Prepare, CountsEverythingThatIsLeftOutOrFilledIn) {
  const Setting s;
  const PrepareReport r = prepare(test::world(), s.options);
  ASSERT_EQ(r.slides.size(), 3U);
  const PreparedSlide &j = r.slides[0], &p = r.slides[1], &t = r.slides[2];
  EXPECT_EQ(j.name + p.name + t.name, "J_STP_STT_ST");
  EXPECT_EQ(p.spots, 30);
  EXPECT_EQ(p.dropped.empty_spots, 1);
  EXPECT_EQ(p.dropped.only_in_counts, 1);
  EXPECT_EQ(p.dropped.only_in_coordinates, 1);
  EXPECT_EQ(j.spots, 16);
  EXPECT_EQ(j.dropped.outside_image, 1);
  EXPECT_EQ(j.labelled, 10);
  EXPECT_EQ(t.spots, 9);
  for (const PreparedSlide& one : r.slides) {
    EXPECT_DOUBLE_EQ(one.um_per_px, 5.0) << one.name;
    EXPECT_DOUBLE_EQ(one.niche_window_um, 400);
    EXPECT_DOUBLE_EQ(one.niche_radius_um, 300);
    EXPECT_EQ(one.genes, 13);
    EXPECT_EQ(one.genes_found, 8);
    EXPECT_EQ(one.padded_spot, 0);
  }
  EXPECT_EQ(t.padded_niche, 8);   // 80 px windows 25 px from the rim: all but the middle one
  EXPECT_EQ(p.padded_niche, 15);  // all but 3 rows of 5: its right rim is wider
  EXPECT_EQ(r.spots, 55);
}

TEST(Prepare, TheSamePackOnAnyNumberOfRanks) {
  const Setting s;
  PrepareOptions alone = s.options;
  alone.output = s.folder / "alone.h5";
  alone.cache_bytes = 0;  // every slide read twice
  prepare(test::world(), s.options);
  if (test::world().rank() == 0) {
    const auto self = dist::make_self();
    prepare(*self, alone);
  }
  test::world().barrier();
  const PackReader a(s.options.output), b(alone.output);
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  EXPECT_EQ(a.genes(), b.genes());
  EXPECT_EQ(a.read_names(), b.read_names());
  EXPECT_EQ(a.read_xy(), b.read_xy());
  EXPECT_EQ(a.read_clusters(), b.read_clusters());
  const auto& slides = a.slides();
  EXPECT_EQ(slides.at(0).cluster_names, R"(["zone 1","zone 2"])");
  EXPECT_EQ(slides.at(1).cluster_names + slides.at(2).cluster_names, "[][]");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(slides[i].cluster_names, b.slides().at(i).cluster_names);
  ASSERT_EQ(a.header().spots, 55);
  const auto read = [](const PackReader& pack, std::int64_t row) {
    PackRows r;
    r.spot_image.resize(8 * 8 * 3);
    r.niche_image.resize(12 * 12 * 3);
    r.spot_gene.resize(8);
    r.niche_gene.resize(8);
    pack.read_row(row, {r.spot_image.data(), r.niche_image.data(), r.spot_gene.data(), r.niche_gene.data()});
    return r;
  };
  for (std::int64_t row = 0; row < 55; ++row) {
    const PackRows x = read(a, row), y = read(b, row);
    EXPECT_EQ(x.spot_image, y.spot_image) << row;
    EXPECT_EQ(x.niche_image, y.niche_image) << row;
    EXPECT_EQ(x.spot_gene, y.spot_gene) << row;
    EXPECT_EQ(x.niche_gene, y.niche_gene) << row;
  }
}

TEST(Prepare, RowsAreOrderedAndHoldWhatTheSlideSays) {
  Setting s;
  s.options.slides = {"T_*"};
  s.options.spot_window_um = 40;  // 8 px to 8 px: pixels as they are, when the centre lies on a pixel's edge
  s.options.niche_neighbours = 2;
  s.options.gene_count = 12;
  prepare(test::world(), s.options);
  const PackReader pack(s.options.output);
  ASSERT_EQ(pack.header().spots, 9);
  EXPECT_EQ(pack.slides().at(0).tissue, "brain");
  EXPECT_EQ(pack.slides().at(0).species, "mouse");
  EXPECT_FALSE(pack.header().has_cluster);
  const auto xy = pack.read_xy();
  for (std::size_t i = 2; i < 18; i += 2)
    EXPECT_TRUE(xy[i + 1] > xy[i - 1] || (xy[i + 1] == xy[i - 1] && xy[i] > xy[i - 2])) << i;
  EXPECT_EQ(pack.read_names().at(1), "T_ST_1x0");
  EXPECT_EQ(pack.read_array(true).at(1), 1);
  EXPECT_EQ(pack.read_array(false).at(1), 0);

  // a picture of smooth slopes: the 8 x 8 window at (65.5, 25.25) is the picture between its pixels
  std::vector<std::uint8_t> image(8 * 8 * 3);
  pack.read_row(1, {.spot_image = image.data()});
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      EXPECT_NEAR(image[static_cast<std::size_t>((y * 8 + x) * 3)], test::pixel(61 + x, 21 + y, 0), 4) << x << "," << y;
}

TEST(Prepare, AListKeepsItsOrderAndMissingGenesAreZero) {
  Setting s;
  if (test::world().rank() == 0) std::ofstream(s.folder / "in/genes.txt") << "G3\nABSENT\nONLY_T_ST\nG0\n";
  test::world().barrier();
  s.options.gene_list = s.folder / "in/genes.txt";
  const PrepareReport r = prepare(test::world(), s.options);
  EXPECT_EQ(r.genes, (std::vector<std::string>{"G3", "ABSENT", "ONLY_T_ST", "G0"}));
  EXPECT_EQ(r.slides[0].genes_found, 2);
  EXPECT_EQ(r.slides[2].genes_found, 3);
  const PackReader pack(s.options.output);
  std::vector<float> gene(4);
  for (std::int64_t row = 0; row < 55; ++row) {
    pack.read_row(row, {.spot_gene = gene.data()});
    EXPECT_EQ(gene[1], 0.0F);
    EXPECT_GT(gene[3], 0.0F) << row;  // every spot has G0
    if (row < 46) {
      EXPECT_EQ(gene[2], 0.0F) << row;
    }
  }
}

TEST(Prepare, OneRanksBadSlideFailsAllAndLeavesNothing) {
  Setting s;
  s.damage("gene_exp/T_ST_count.csv", ",G0,G1\nT_ST_0x0,1,2\nT_ST_0x1,1,-2\n");
  EXPECT_TRUE(test::has(s.refusal(), "T_ST_count.csv, row 3, column 3"));
  // an image that breaks off is found in the second pass, when the pack is being written
  Setting image;
  const std::string path = "image/J_ST.png";
  const std::string bytes = test::read_text(image.folder / ("in/ST/" + path));
  test::world().barrier();
  image.damage(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_TRUE(test::has(image.refusal(), "truncated JPEG"));
}

TEST(Prepare, ImageOfAnotherSlideAndNoCommonGenes) {
  Setting s;
  if (test::world().rank() == 0) test::write_png(s.folder / "in/ST/image/P_ST.png", 60, 60, {});
  test::world().barrier();
  EXPECT_TRUE(test::has(s.refusal(), "spot centres lie outside"));
  Setting genes;
  if (test::world().rank() == 0) std::ofstream(genes.folder / "in/list.txt") << "ENSG00000000003\n";
  test::world().barrier();
  genes.options.gene_list = genes.folder / "in/list.txt";
  EXPECT_TRUE(test::has(genes.refusal(), "none of the 1 genes of the list"));
}

TEST(Prepare, OptionsAndOutput) {
  Setting s;
  s.options.slides = {"T_ST"};
  prepare(test::world(), s.options);
  const auto refuse = [&](const PrepareOptions& o) {
    return test::error_of(ErrorKind::usage, [&] { prepare(test::world(), o); });
  };
  EXPECT_TRUE(test::has(refuse(s.options), "--force"));
  s.options.force = true;
  s.options.gene_type = GeneType::f16;
  prepare(test::world(), s.options);
  EXPECT_EQ(PackReader(s.options.output).header().gene_type, GeneType::f16);
  PrepareOptions o = s.options;
  o.gene_count = 14;
  EXPECT_TRUE(test::has(refuse(o), "only 13 genes"));
  o = s.options;
  o.niche_radius_um = o.spot_window_um;
  o.niche_neighbours = 3;
  EXPECT_TRUE(test::has(refuse(o), "exclude each other"));
  o = s.options;
  o.output = s.folder / "none/pack.h5";
  EXPECT_TRUE(test::has(refuse(o), "there is no folder"));
  o = s.options;
  o.format = "hest";
  EXPECT_TRUE(test::has(refuse(o), "stimage-1k4m"));
}

TEST(Prepare, AStopLeavesNothingAndWhatAKillLeftGoes) {
  Setting s;
  s.options.stop_requested = [] { return true; };
  EXPECT_TRUE(test::has(s.refusal(ErrorKind::internal), "stopped by a signal"));
  test::world().barrier();  // all have looked
  if (test::world().rank() == 0) {
    s.folder.put("pack.h5.tmp-1a2b", "of a prepare that was killed");
    s.folder.put("other.h5.tmp-1a2b", "of another");
  }
  test::world().barrier();
  s.options.stop_requested = [] { return false; };
  prepare(test::world(), s.options);
  test::world().barrier();
  EXPECT_EQ(s.folder.files(), (std::vector<std::string>{"in", "other.h5.tmp-1a2b", "pack.h5"}));
}

}  // namespace
}  // namespace spn::data
