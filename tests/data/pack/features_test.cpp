// Features of a pack: begun, gone on with, complete; what is refused; what readers and verification say.
#include "data/pack/features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "data/pack/reader.h"
#include "data/pack/verify.h"
#include "tests/support/errors.h"
#include "tests/support/find_python.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

constexpr std::int64_t kRows = 23;
constexpr FeatureKind kNiche = FeatureKind::niche_image;

FeatureInfo wanted(GeneType type = GeneType::f32) {
  FeatureInfo info;
  info.width = 6;
  info.type = type;
  info.block_rows = 4;
  info.checksum = "aaaa";
  info.facts = {{"encoder", "niche_image"}, {"encoder_config", "{\"vit-depth\":2}"}, {"weights", "w.safetensors"}};
  return info;
}

float value(std::int64_t row, std::int64_t column) {
  return static_cast<float>(row) + 0.125F * static_cast<float>(column);
}

void write_block(FeatureWriter& writer, std::int64_t block) {
  std::vector<float> values;
  for (std::int64_t r = 0; r < writer.rows(block); ++r)
    for (std::int64_t c = 0; c < writer.info().width; ++c) values.push_back(value(writer.first_row(block) + r, c));
  writer.write(block, values);
}

struct Made {
  test::TempFolder folder;
  std::string path = folder / "a.h5";
  Made() {
    auto plan = test::plan_pack({13, 10});
    plan.header.normalisation = "none";  // made values have another range
    test::write_pack(test::world(), path, plan);
  }
  std::unique_ptr<FeatureWriter> writer(const FeatureInfo& want, bool overwrite = false) const {
    return std::make_unique<FeatureWriter>(test::world(), path, kNiche, want, overwrite);
  }
  void write_all(const FeatureInfo& want, bool overwrite = false) const {
    const auto w = writer(want, overwrite);
    for (const std::int64_t block : w->todo()) write_block(*w, block);
    w->finish();
  }
};

void expect_values(const PackReader& pack) {
  std::vector<float> got(6);
  PackReader::Row out;
  out.niche_feature = got.data();
  for (std::int64_t row = 0; row < kRows; ++row) {
    pack.read_row(row, out);
    for (std::int64_t c = 0; c < 6; ++c) ASSERT_EQ(got[static_cast<std::size_t>(c)], value(row, c)) << row;
  }
}

TEST(Features, GoOnWhereTheyWereLeft) {
  for (const GeneType type : {GeneType::f32, GeneType::f16}) {
    const Made made;
    const std::string fingerprint = PackReader(made.path).fingerprint();
    EXPECT_FALSE(PackReader(made.path).features(kNiche).has_value());
    {
      const auto w = made.writer(wanted(type));
      ASSERT_EQ(w->todo(), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
      EXPECT_EQ(w->rows(5), 3);
      write_block(*w, 4);
      write_block(*w, 1);
    }
    {
      const PackReader pack(made.path);
      const auto& info = pack.features(kNiche);
      ASSERT_TRUE(info.has_value());
      EXPECT_FALSE(info->complete());
      EXPECT_EQ(info->progress(), "2 of 6 blocks of 4 rows");
      EXPECT_EQ(info->facts.at("encoder_config"), "{\"vit-depth\":2}");
      const auto problems = verify_pack(pack);
      ASSERT_EQ(problems.size(), 1U);
      EXPECT_TRUE(test::has(problems[0], "niche_image features incomplete")) << problems[0];
      EXPECT_TRUE(test::has(problems[0], "2 of 6 blocks")) << problems[0];
    }
    // other weights' path and other block rows: the same features, the blocks of the run that began
    FeatureInfo again = wanted(type);
    again.facts["weights"] = "copy.safetensors";
    again.block_rows = 7;
    {
      const auto w = made.writer(again);
      EXPECT_EQ(w->todo(), (std::vector<std::int64_t>{0, 2, 3, 5}));
      EXPECT_EQ(w->info().block_rows, 4);
      for (const std::int64_t block : w->todo()) write_block(*w, block);
      w->finish();
    }
    const PackReader pack(made.path);
    EXPECT_TRUE(pack.features(kNiche)->complete());
    EXPECT_EQ(pack.features(kNiche)->type, type);
    EXPECT_FALSE(pack.features(FeatureKind::spot_gene).has_value());
    expect_values(pack);
    EXPECT_TRUE(verify_pack(pack).empty());
    EXPECT_EQ(pack.fingerprint(), fingerprint);
    EXPECT_TRUE(made.writer(wanted(type))->todo().empty());
    PackReader::Row row;
    float spot[6];
    row.spot_feature = spot;
    EXPECT_THROW(pack.read_row(0, row), Error);
  }
}

TEST(Features, OthersAreRefusedUnlessOverwritten) {
  const Made made;
  made.write_all(wanted());
  const auto refused = [&](const FeatureInfo& want, const std::vector<std::string>& words) {
    const std::string message = test::error_of(ErrorKind::data, [&] { made.writer(want); });
    for (const auto& w : words) EXPECT_TRUE(test::has(message, w)) << message;
    expect_values(PackReader(made.path));
  };
  FeatureInfo other = wanted();
  other.checksum = "bbbb";
  refused(other, {"aaaa", "bbbb", "--overwrite", "complete"});
  refused(wanted(GeneType::f16), {"float32", "float16"});
  FeatureInfo heads = wanted();
  heads.facts["encoder_config"] = "{\"vit-depth\":3}";
  refused(heads, {"encoder_config", "vit-depth"});
  FeatureInfo wide = wanted();
  wide.width = 7;
  refused(wide, {"width 6", "7"});
  {
    const auto w = made.writer(other, true);
    EXPECT_EQ(w->todo().size(), 6U);
    write_block(*w, 0);
  }
  EXPECT_FALSE(PackReader(made.path).features(kNiche)->complete());
  // begun ones of the same kind are gone on with, also when --overwrite stands in the same line
  EXPECT_EQ(made.writer(other, true)->todo().size(), 5U);
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { made.writer(wanted()); }), "incomplete: 1 of 6 blocks"));
  made.write_all(other, true);
  EXPECT_EQ(PackReader(made.path).features(kNiche)->checksum, "bbbb");
  expect_values(PackReader(made.path));
  // complete ones are made again
  EXPECT_EQ(made.writer(other, true)->todo().size(), 6U);
}

TEST(Features, AReaderAtWorkKeepsTheOldOnes) {
  const Made made;
  made.write_all(wanted());
  const PackReader before(made.path);
  const std::int64_t old = h5::File::open(made.path).dataset(feature_dataset(kNiche)).offset;
  for (const char* sum : {"bbbb", "cccc"}) {
    FeatureInfo other = wanted();
    other.checksum = sum;
    const auto w = made.writer(other, true);
    const std::int64_t at = h5::File::open(made.path).dataset(feature_dataset(kNiche)).offset;
    EXPECT_TRUE(at >= old + kRows * 6 * 4 || at + kRows * 6 * 4 <= old) << old << " and " << at;
    for (const std::int64_t block : w->todo())
      w->write(block, std::vector<float>(static_cast<std::size_t>(w->rows(block) * 6), -1.0F));
    w->finish();
    expect_values(before);
  }
  EXPECT_FALSE(h5::File::open(made.path).has(feature_dataset(kNiche) + ".new"));
  EXPECT_EQ(PackReader(made.path).features(kNiche)->checksum, "cccc");
  EXPECT_TRUE(verify_pack(PackReader(made.path)).empty());
}

TEST(Features, OneWriterAtATime) {
  const Made made;
  auto w = made.writer(wanted());
  for (const FeatureKind kind : kFeatureKinds)
    EXPECT_TRUE(test::has(
        test::error_of(ErrorKind::data, [&] { FeatureWriter(test::world(), made.path, kind, wanted(), false); }),
        "another encode is at work on"));
  EXPECT_EQ(PackReader(made.path).features(kNiche)->done, 0);  // readers may
  w.reset();
  made.writer(wanted())->finish();
  EXPECT_FALSE(std::filesystem::exists(made.path + ".lock"));
  // one that was left by a kill keeps nobody off
  std::ofstream(made.path + ".lock") << "";
  made.write_all(wanted());
  expect_values(PackReader(made.path));
}

TEST(Features, ValuesThatCannotBeStoredAreRefusedWithTheirPlace) {
  for (const auto& [type, bad] :
       {std::pair{GeneType::f32, std::nanf("")}, std::pair{GeneType::f32, std::numeric_limits<float>::infinity()},
        std::pair{GeneType::f16, 70000.0F}}) {
    const Made made;
    const auto w = made.writer(wanted(type));
    std::vector<float> values(24, 1.0F);
    values[2 * 6 + 3] = bad;
    const std::string message = test::error_of(ErrorKind::data, [&, &v = values] { w->write(1, v); });
    EXPECT_TRUE(test::has(message, "row 6, column 3")) << message;
    EXPECT_EQ(PackReader(made.path).features(kNiche)->done, 0);
    EXPECT_THROW(w->write(1, std::vector<float>(5)), Error);
    EXPECT_THROW(w->write(6, std::vector<float>(24)), Error);
  }
}

TEST(Features, DamagedOnesAreToldAndCanBeReplaced) {
  const auto damage = [](const std::string& path, const std::function<void(h5::File&)>& how) {
    h5::File file = h5::File::open_to_write(path);
    how(file);
    file.close();
  };
  const std::string rows = feature_dataset(kNiche), blocks = feature_blocks(kNiche);
  const std::vector<std::function<void(h5::File&)>> ways = {
      [&](h5::File& f) { f.remove(blocks); },
      [&](h5::File& f) {
        f.remove(blocks);
        f.make_dataset(blocks, h5::Type::u8, {3});
      },
      [&](h5::File& f) {
        f.remove(rows);
        f.make_dataset(rows, h5::Type::f32, {kRows - 1, 6});
      },
      [&](h5::File& f) {
        f.remove(rows);
        f.make_dataset(rows, h5::Type::f64, {kRows, 6});
      },
      [&](h5::File& f) { f.set_integer(rows, "block_rows", 0); },
  };
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const Made made;
    made.write_all(wanted());
    damage(made.path, ways[i]);
    const std::string message = test::error_of(ErrorKind::data, [&] { PackReader pack(made.path); });
    EXPECT_TRUE(test::has(message, "--overwrite")) << i << ": " << message;
    test::error_of(ErrorKind::data, [&] { made.writer(wanted()); });
    made.write_all(wanted(), true);
    expect_values(PackReader(made.path));
  }
}

TEST(Features, NotFiniteOnesAreSeenByVerification) {
  const Made made;
  made.write_all(wanted());
  const std::int64_t at = h5::File::open(made.path).dataset(feature_dataset(kNiche)).offset + 4 * (6 * 11 + 2);
  const float nan = std::nanf("");
  std::fstream(made.path, std::ios::binary | std::ios::in | std::ios::out)
      .seekp(at)
      .write(reinterpret_cast<const char*>(&nan), 4);
  const auto problems = verify_pack(PackReader(made.path));
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_TRUE(test::has(problems[0], "niche_image_feature not finite")) << problems[0];
  EXPECT_TRUE(test::has(problems[0], "row 11")) << problems[0];
}

TEST(Features, H5pySeesThemAndWhatItRewritesIsStillRead) {
  SPN_FIND_PYTHON(python, "h5py, numpy");
  const Made made;
  made.write_all(wanted(GeneType::f16));
  const std::string script =
      "import h5py, numpy, sys; f = h5py.File(sys.argv[1], 'r+'); d = f['spots/niche_image_feature']; x = d[...]; "
      "assert d.dtype == numpy.float16 and x.shape == (23, 6), d; "
      "assert d.attrs['checksum'] == 'aaaa' and d.attrs['block_rows'] == 4, dict(d.attrs); "
      "assert (x == numpy.arange(23)[:, None] + 0.125 * numpy.arange(6)).all(); "
      "assert (f['spots/niche_image_feature_blocks'][...] == 1).all(); a = dict(d.attrs); "
      "del f['spots/niche_image_feature']; "
      "e = f.create_dataset('spots/niche_image_feature', data=x, chunks=(5, 3), compression='gzip'); "
      "e.attrs.update(a)";
  ASSERT_EQ(std::system((python + " -c \"" + script + "\" '" + made.path + "'").c_str()), 0);
  expect_values(PackReader(made.path));
  EXPECT_TRUE(verify_pack(PackReader(made.path)).empty());
}

}  // namespace
}  // namespace spn::data
