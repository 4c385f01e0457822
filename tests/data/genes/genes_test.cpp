// Gene lists, normalisation and the most variable genes, against sums written out here.
#include <gtest/gtest.h>

#include <cmath>

#include "data/genes/hvg.h"
#include "data/genes/normalise.h"
#include "data/genes/vocabulary.h"
#include "tests/support/errors.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

using test::error_of;
using test::has;

Counts small() { return {{"A", "B", "C"}, {0, 2, 3, 5}, {0, 2, 1, 0, 1}, {1, 3, 8, 5, 5}}; }

TEST(Genes, CanonicalNames) {
  EXPECT_EQ(canonical_gene("ENSG00000186092.7"), "ENSG00000186092");
  EXPECT_EQ(canonical_gene("ENSMUSG00000051951.6"), "ENSMUSG00000051951");
  EXPECT_EQ(canonical_gene("ENSG00000000003.14.1"), "ENSG00000000003");
  for (const char* same : {"FO538757.1", "RP11-34P13.7", "ENSA", "ENSG0001.2", "MT-CO1", "HLA-A"})
    EXPECT_EQ(canonical_gene(same), same);
}

TEST(Genes, ListFromFileMatchesColumns) {
  test::TempFolder folder;
  const GeneList list = GeneList::from_file(folder.put("g.txt", "# mine\nB\n\n ENSG00000000003.1 \r\nZ\n"));
  EXPECT_EQ(list.names(), (std::vector<std::string>{"B", "ENSG00000000003", "Z"}));
  EXPECT_EQ(list.match({"A", "Z", "B"}), (std::vector<std::int32_t>{-1, 2, 0}));
  const std::string twice = folder.put("twice.txt", "B\nA\nB\n"), none = folder.put("none.txt", "#\n");
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { GeneList::from_file(twice); }), "row 3: B is already in row 1"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { GeneList::from_file(none); }), "names no gene"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { GeneList::from_file(folder / "x"); }), "missing"));
}

TEST(Genes, NormaliseThenSpotAndNiche) {
  Counts c = small();
  normalise(c);
  const float a0 = std::log1p(2500.0F), c0 = std::log1p(7500.0F), b1 = std::log1p(1e4F), half = std::log1p(5000.0F);
  const std::vector<std::int32_t> to_list = GeneList({"C", "missing", "A"}).match(c.genes);
  std::vector<float> out(3, 99.0F);
  spot_expression(c, 0, to_list, out);
  EXPECT_FLOAT_EQ(out[0], c0);
  EXPECT_EQ(out[1], 0.0F);
  EXPECT_FLOAT_EQ(out[2], a0);
  const std::vector<std::int32_t> spots{0, 1, 2};
  mean_expression(c, spots, GeneList({"A", "B"}).match(c.genes), std::span(out).first(2));
  EXPECT_FLOAT_EQ(out[0], (a0 + half) / 3);
  EXPECT_FLOAT_EQ(out[1], (b1 + half) / 3);
}

TEST(Genes, TakeRows) {
  Counts c = small();
  take_rows(c, {2, 0});
  EXPECT_EQ(c.row_begin, (std::vector<std::int64_t>{0, 2, 4}));
  EXPECT_EQ(c.column, (std::vector<std::int32_t>{0, 1, 0, 2}));
  EXPECT_EQ(c.value, (std::vector<float>{5, 5, 1, 3}));
  take_rows(c, {});
  EXPECT_EQ(c.spots(), 0);
}

TEST(Genes, MostVariableOverAllSlides) {
  // values as after normalise(); slide 2 lacks C and has D
  const Counts one{{"A", "B", "C"}, {0, 2, 4}, {0, 1, 0, 2}, {1, 4, 1, 2}};
  const Counts two{{"B", "A", "D"}, {0, 2, 4}, {0, 1, 0, 2}, {8, 1, 6, 9}};
  VariableGenes all;
  all.add(one);
  all.add(two);
  // over 4 spots: A 1,1,1,0 → 0.1875; B 4,0,8,6 → 8.75; C 0,2,0,0 → 0.75; D 0,0,0,9 → 15.1875
  EXPECT_EQ(all.choose(test::world(), 2, 1.0), (std::vector<std::string>{"B", "A"}));
  EXPECT_EQ(all.choose(test::world(), 4, 0.5), (std::vector<std::string>{"D", "B", "C", "A"}));
  EXPECT_TRUE(has(error_of(ErrorKind::usage, [&] { all.choose(test::world(), 3, 1.0); }), "only 2 genes"));
  VariableGenes apart;
  apart.add(one);
  apart.add({{"a", "b"}, {0, 1}, {0}, {1}});
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { apart.choose(test::world(), 1, 1.0); }), "no gene is common"));
}

TEST(GeneList, ByteOrderMarksAndOtherEncodings) {
  const test::TempFolder folder;
  folder.put("marked.txt",
             "\xEF\xBB\xBF"
             "A1\r\nB2\n");
  EXPECT_EQ(GeneList::from_file(folder / "marked.txt").names(), (std::vector<std::string>{"A1", "B2"}));
  folder.put("latin.txt", "A1\nB\xE9\n");
  const std::string what = test::error_of(ErrorKind::data, [&] { GeneList::from_file(folder / "latin.txt"); });
  EXPECT_TRUE(test::has(what, "latin.txt, row 2") && test::has(what, "UTF-8")) << what;
}

}  // namespace
}  // namespace spn::data
