// The STimage-1K4M reader over small folders that hold each edge case of the published data set.
#include "data/readers/stimage_1k4m.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "data/readers/stimage_counts.h"
#include "tests/support/errors.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

using test::error_of;
using test::has;

// One ST slide of 2 x 2 spots 100 px apart; a test overrides what it is about.
struct Layout {
  test::TempFolder folder;
  std::string tech = "ST", slide = "A_b+c.d-1_ST_X";
  std::string counts, coord;
  Layout() {
    const std::string s = slide + "_";
    coord = ",yaxis,xaxis,r\n" + s + "1x1,10.5,20,5\n" + s + "1x2,110.5,20,5\n" + s + "2x1,10.5,120,5\n" + s +
            "2x2,110.5,120,5\n";
    counts = ",G1,G2,G3\n" + s + "2x2,1,0,2\n" + s + "1x1,0,3,0\n" + s + "1x2,5,0,0\n" + s + "2x1,0,0,4\n";
  }
  void write() const {
    folder.put(tech + "/coord/" + slide + "_coord.csv", coord);
    folder.put(tech + "/gene_exp/" + slide + "_count.csv", counts);
    folder.put(tech + "/image/" + slide + ".png", "not read here");
  }
  Slide read(double pitch_um = 0) const {
    write();
    Stimage1k4m reader(folder.path(), pitch_um);
    const auto slides = reader.list();
    EXPECT_EQ(slides.size(), 1U);
    return reader.read(slides.at(0));
  }
  std::string refusal() const {
    return error_of(ErrorKind::data, [&] { read(); });
  }
};

std::map<std::string, float> row(const Slide& s, std::int64_t r) {
  std::map<std::string, float> out;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  for (std::int64_t i = s.counts.row_begin[at(r)]; i < s.counts.row_begin[at(r) + 1]; ++i)
    out[s.counts.genes[at(s.counts.column[at(i)])]] = s.counts.value[at(i)];
  return out;
}
using Row = std::map<std::string, float>;

TEST(Stimage, ReadsASlideInTheOrderOfItsCountsWithXAndYByHeader) {
  const Slide s = Layout().read();
  ASSERT_EQ(s.spot_name.size(), 4U);
  EXPECT_EQ(s.spot_name[0], "A_b+c.d-1_ST_X_2x2");
  EXPECT_EQ(s.x[1], 20.0);
  EXPECT_EQ(s.y[1], 10.5);
  EXPECT_EQ(s.array_col[2], 1);
  EXPECT_EQ(s.array_row[2], 2);
  EXPECT_EQ(row(s, 0), (Row{{"G1", 1}, {"G3", 2}}));
  EXPECT_EQ(row(s, 2), (Row{{"G1", 5}}));
  EXPECT_DOUBLE_EQ(s.um_per_px, 2.0);  // 200 µm over 100 px; r is not asked
  EXPECT_EQ(s.cluster, std::vector<std::int32_t>(4, -1));
}

TEST(Stimage, ColumnsByNameInAnyOrder) {
  Layout l;
  l.coord = ",r,xaxis,yaxis\n1x1,5,20,10.5\n1x2,5,20,110.5\n2x1,5,120,10.5\n2x2,5,120,110.5\n";  // and native ids
  const Slide s = l.read();
  EXPECT_EQ(s.x[1], 20.0);
  EXPECT_EQ(s.y[1], 10.5);
  l.coord = ",x,y\n1x1,5,20\n";
  EXPECT_TRUE(has(l.refusal(), "expected a column 'xaxis', got '', 'x', 'y'"));
}

TEST(Stimage, InnerJoinCountsBothSides) {
  Layout l;
  l.counts = ",G1\n" + l.slide + "_1x1,1\n" + l.slide + "_9x9,1\n" + l.slide + "_2x1,1\n";
  const Slide s = l.read();
  EXPECT_EQ(s.spot_name.size(), 2U);
  EXPECT_EQ(s.dropped.only_in_counts, 1);
  EXPECT_EQ(s.dropped.only_in_coordinates, 2);
  EXPECT_EQ(s.counts.spots(), 2);
  l.counts = ",G1\nother_1x1,1\n";
  EXPECT_TRUE(has(l.refusal(), "belong to different slides"));
}

TEST(Stimage, DuplicateGenesAreSummedAndClonesStay) {
  Layout l;
  // X.1 and X.2 are renames of X, before it too; FO538757.1 has no stem; Y.2 without Y.1 is a name; an ENSG version
  // goes
  l.counts = ",X.1,FO538757.1,X,Y,Y.2,ENSG00000000003.14,X.2,Z,Z,ENSG00000000003.2\n";
  for (const char* spot : {"1x1", "1x2", "2x1", "2x2"}) l.counts += l.slide + "_" + spot + ",1,2,3,4,5,6,7,8,9,10\n";
  const Slide s = l.read();
  EXPECT_EQ(s.counts.genes, (std::vector<std::string>{"X", "FO538757.1", "Y", "Y.2", "ENSG00000000003", "Z"}));
  EXPECT_EQ(row(s, 3), (Row{{"X", 11}, {"FO538757.1", 2}, {"Y", 4}, {"Y.2", 5}, {"ENSG00000000003", 16}, {"Z", 17}}));
  EXPECT_EQ(s.dropped.duplicate_genes, 4);
  for (std::size_t i = 1; i < 6; ++i) EXPECT_LT(s.counts.column[i - 1], s.counts.column[i]);
}

TEST(Stimage, MissingIsZeroAndCountedOtherCellsAreRefusedByPlace) {
  Layout l;
  l.counts = ",G1,G2,G3\n1x1,,NaN,2.0\n1x2,1e1,,0\n2x1,1,0,nan\n2x2,1,NA,0\n";
  const Slide s = l.read();
  EXPECT_EQ(s.dropped.empty_counts, 5);
  EXPECT_EQ(row(s, 0), (Row{{"G3", 2}}));
  EXPECT_EQ(row(s, 1), (Row{{"G1", 10}}));
  for (const char* bad : {"-1", "x", "inf", "1;2", "NaNs", "-nan"}) {
    l.counts = std::string(",G1,G2\n1x1,1,0\n1x2,1,") + bad + "\n2x1,1,1\n";
    const std::string what = l.refusal();
    EXPECT_TRUE(has(what, "_count.csv, row 3, column 3") && has(what, "'G2'") && has(what, bad)) << what;
  }
}

TEST(Stimage, DuplicateSpotsAndBrokenCoordinatesAreRefused) {
  Layout l;
  l.counts = ",G1\n1x1,1\n1x2,1\n" + l.slide + "_1x1,1\n";
  EXPECT_TRUE(has(l.refusal(), "row 4: spot 'A_b+c.d-1_ST_X_1x1' is already in row 2"));
  Layout c;
  c.coord = ",yaxis,xaxis,r\n1x1,1,2,1\n1x1,3,4,1\n";
  EXPECT_TRUE(has(c.refusal(), "_coord.csv, row 3: spot '1x1' is already in row 2"));
  c.coord = ",yaxis,xaxis,r\n1x1,1,2,1\n1x2,,4,1\n";
  EXPECT_TRUE(has(c.refusal(), "row 3: expected a finite number in column 'yaxis'"));
  c.coord = ",yaxis,xaxis,r\n1x1,1,2,1\n";
  EXPECT_TRUE(has(c.refusal(), "at least 2 spots"));
  c.coord = ",yaxis,xaxis,r\n1x1,1,2,1\n1x2,1,2,1\n";
  EXPECT_TRUE(has(c.refusal(), "share their coordinates"));
  Layout t;
  t.counts.resize(t.counts.size() - 4);
  EXPECT_TRUE(has(t.refusal(), "truncated"));
}

TEST(Stimage, TechnologyAndPitchComeFromTheNewestMetadata) {
  Layout l;
  l.tech = "Visium";
  l.folder.put("meta/meta_all_gene.csv", "slide,species,tissue,tech\n" + l.slide + ",mouse,brain,Visium\n");
  l.folder.put("meta/meta_all_gene02122025.csv", "\"slide\",\"species\",\"tissue\",\"pmid\",\"title\",\"tech\"\n\"" +
                                                     l.slide +
                                                     "\",\"human\",\"skin\",\"\",\"Cells, and more\",\"ST\"\n");
  l.folder.put("meta/meta_all_gene12012024.csv", "slide,species,tissue,tech\n" + l.slide + ",rat,liver,Visium\n");
  EXPECT_DOUBLE_EQ(l.read().um_per_px, 2.0);  // ST by the tech column although it lies under Visium/
  const SlideInfo info = Stimage1k4m(l.folder.path()).list().at(0);
  EXPECT_EQ(info.species, "human");
  EXPECT_EQ(info.tissue, "skin");
  EXPECT_EQ(info.tech, Tech::st);
  EXPECT_DOUBLE_EQ(l.read(50).um_per_px, 0.5);  // --pitch-um wins
}

TEST(Stimage, PitchOfEachTechnology) {
  Layout visium;
  visium.tech = "Visium";
  EXPECT_DOUBLE_EQ(visium.read().um_per_px, 1.0);
  Layout dense;
  dense.folder.put("meta/meta_all_gene.csv", "slide,pmid,tech\n" + dense.slide + ",32579974.0,ST\n");
  EXPECT_DOUBLE_EQ(dense.read().um_per_px, 1.1);
  Layout hd;
  hd.tech = "VisiumHD";
  EXPECT_TRUE(has(hd.refusal(), "--pitch-um"));
  hd.coord = ",yaxis,xaxis,r\ns_008um_00003_00007-1,0,0,1\ns_008um_00003_00008-1,0,16,1\n";
  hd.counts = ",G\ns_008um_00003_00007-1,1\ns_008um_00003_00008-1,1\n";
  const Slide s = hd.read();
  EXPECT_DOUBLE_EQ(s.um_per_px, 0.5);
  EXPECT_EQ(s.array_row[1], 3);
  EXPECT_EQ(s.array_col[1], 8);
}

TEST(Stimage, AnnotationLabels) {
  Layout l;
  l.folder.put("annotation/" + l.slide + "_cluster.csv",
               ",cluster\n" + l.slide + "_1x1,6.0\n" + l.slide + "_1x2,\n" + l.slide + "_2x1,0.0\n5x5,3.0\n");
  Slide s = l.read();  // order of the counts: 2x2, 1x1, 1x2, 2x1
  EXPECT_EQ(s.cluster, (std::vector<std::int32_t>{-1, 6, -1, 0}));
  // the experts' labels win; text labels are numbered by name
  l.folder.put("annotation/" + l.slide + "_anno.csv",
               ",label,more\n1x1,tumor,a\n1x2,undetermined,a\n2x1,Exclude,a\n2x2,\"fat, other\",nan\n");
  s = l.read();
  EXPECT_EQ(s.cluster, (std::vector<std::int32_t>{0, 1, -1, -1}));
  EXPECT_EQ(s.cluster_names, (std::vector<std::string>{"fat, other", "tumor"}));
}

TEST(Stimage, ThePrefixIsStrippedOnlyWhenItIsTheSlide) {
  EXPECT_EQ(native_spot("A_b", "A_b_10x13"), "10x13");
  EXPECT_EQ(native_spot("A_b", "A_bc_10x13"), "A_bc_10x13");
  EXPECT_EQ(native_spot("A", "ACGT-1"), "ACGT-1");
}

TEST(Stimage, MissingFilesAndFoldersAreNamed) {
  Layout l;
  l.write();
  Stimage1k4m reader(l.folder.path());
  const SlideInfo info = reader.list().at(0);
  reader.require_files(info);
  std::filesystem::remove(info.image_path);
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { reader.require_files(info); }), info.image_path));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { Stimage1k4m(l.folder / "ST"); }), "--input is the folder"));
  EXPECT_TRUE(has(error_of(ErrorKind::usage, [&] { open_reader("hest", l.folder.path(), 0); }), "stimage-1k4m"));
}

TEST(Stimage, NamesAreUtf8) {
  for (const bool gene : {true, false}) {
    Layout l;
    const std::string name = gene ? "G2" : "1x2";
    for (std::string* text : {&l.counts, &l.coord})
      for (std::size_t at; (at = text->find(name)) != std::string::npos;) text->replace(at, name.size(), "\xE9");
    const std::string what = l.refusal();
    EXPECT_TRUE(has(what, "_count.csv, row " + std::string(gene ? "1" : "4")) && has(what, "expected UTF-8")) << what;
  }
}

}  // namespace
}  // namespace spn::data
