// verify_pack: silent on a whole pack, and each fault by its name and row.
#include "data/pack/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/h5/h5.h"
#include "data/pack/half.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

using h5::File;
using h5::Type;

test::MadePack plan(GeneType type = GeneType::f32) {
  auto p = test::plan_pack({6, 7}, type);
  p.header.normalisation = "none";  // made values go up to 16
  return p;
}

// Problems of a pack after `change` was made to its file.
template <class F>
std::vector<std::string> after(const test::MadePack& p, F&& change) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", p);
  File file = File::open_to_write(folder / "a.h5");
  change(file);
  file.close();
  return verify_pack(PackReader(folder / "a.h5"));
}

void expect_one(const std::vector<std::string>& problems, const std::vector<std::string>& words) {
  ASSERT_EQ(problems.size(), 1U);
  for (const auto& w : words) EXPECT_NE(problems[0].find(w), std::string::npos) << problems[0];
}

TEST(VerifyPack, AWholePackHasNoProblems) {
  EXPECT_TRUE(after(plan(), [](File&) {}).empty());
  EXPECT_TRUE(after(plan(GeneType::f16), [](File&) {}).empty());
}

TEST(VerifyPack, FindsEachFault) {
  const float nan = std::nanf("");
  expect_one(after(plan(),
                   [&](File& f) {
                     std::vector<float> genes(11, 1.0F);
                     genes[4] = nan;
                     f.write_rows("/spots/niche_gene", Type::f32, genes.data(), 8, 1);
                   }),
             {"niche_gene not finite", "1 time", "row 8", "column 4"});
  expect_one(after(plan(GeneType::f16),
                   [&](File& f) {
                     const std::vector<std::uint16_t> genes(18, to_half(std::numeric_limits<float>::infinity()));
                     f.write_rows("/spots/spot_gene", Type::f16, genes.data(), 3, 2);
                   }),
             {"spot_gene not finite", "2 times", "row 3"});
  expect_one(after(plan(),
                   [](File& f) {
                     const std::vector<std::uint8_t> black(147, 0);
                     f.write_rows("/spots/niche_image", Type::u8, black.data(), 12, 1);
                   }),
             {"niche image all zero", "row 12"});
  expect_one(after(plan(),
                   [](File& f) {
                     const std::int32_t slide = 9;
                     f.write_rows("/spots/slide", Type::i32, &slide, 5, 1);
                   }),
             {"slide index outside", "row 5", "9 of 2"});
  expect_one(after(plan(),
                   [](File& f) {
                     const double xy[2] = {1, HUGE_VAL};
                     f.write_rows("/spots/xy", Type::f64, xy, 2, 1);
                   }),
             {"coordinate", "row 2"});
  expect_one(after(plan(),
                   [](File& f) {
                     const std::int32_t cluster = -7;
                     f.write_rows("/spots/cluster", Type::i32, &cluster, 1, 1);
                   }),
             {"cluster below -1", "row 1", "-7"});
}

TEST(VerifyPack, ARowInTheOtherSlidesBlock) {
  const auto problems = after(plan(), [](File& f) {
    const std::int32_t slide = 0;
    f.write_rows("/spots/slide", Type::i32, &slide, 10, 1);
  });
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_NE(problems[0].find("row outside its slide's block"), std::string::npos) << problems[0];
  EXPECT_NE(problems[1].find("does not begin with its slide's"), std::string::npos) << problems[1];
}

TEST(VerifyPack, ValuesBeyondTheNormalisation) {
  auto p = plan();
  p.header.normalisation = PackHeader{}.normalisation;
  const auto problems = after(p, [](File&) {});
  // made values reach 15.9, log1p(1e4) is 9.2; spot vectors are of another width, so embeddings
  expect_one(problems, {"niche_gene outside its range"});
}

TEST(VerifyPack, GeneNamesUsedTwice) {
  auto p = plan();
  p.genes[7] = p.genes[2];
  expect_one(after(p, [](File&) {}), {"gene name", "GENE2"});
}

}  // namespace
}  // namespace spn::data
