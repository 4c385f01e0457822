// Batches of one and several packs: content, order, threads, errors.
#include "data/pipe/loader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <thread>

#include "data/h5/h5.h"
#include "engine/core/check.h"
#include "tests/support/errors.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

struct TwoPacks {
  TwoPacks() {
    a = test::plan_pack({11, 6});
    b = test::plan_pack({9}, GeneType::f16);
    b.slides[0].name = "another";
    b.slides[0].um_per_px = 2;
    test::write_pack(test::world(), folder / "a.h5", a);
    test::write_pack(test::world(), folder / "b.h5", b);
  }
  std::vector<std::string> paths() const { return {folder / "a.h5", folder / "b.h5"}; }
  test::TempFolder folder;
  test::MadePack a, b;
};

void expect_batch(const TwoPacks& made, const HostBatch& batch) {
  for (std::size_t i = 0; i < batch.row.size(); ++i) {
    const bool second = batch.row[i] >= 17;
    const test::MadePack& plan = second ? made.b : made.a;
    const PackRows want = test::made_rows(plan, batch.row[i] - (second ? 17 : 0), 1);
    const auto part = [i](const auto& v, std::size_t n) {
      return std::decay_t<decltype(v)>(v.begin() + static_cast<long>(i * n),
                                       v.begin() + static_cast<long>((i + 1) * n));
    };
    EXPECT_EQ(batch.slide[i], want.slide[0] + (second ? 2 : 0));
    EXPECT_EQ(batch.cluster[i], want.cluster[0]);
    const double scale = plan.slides[static_cast<std::size_t>(want.slide[0])].um_per_px;
    EXPECT_EQ(batch.xy_um[2 * i], static_cast<float>(want.xy[0] * scale));
    EXPECT_EQ(batch.xy_um[2 * i + 1], static_cast<float>(want.xy[1] * scale));
    EXPECT_EQ(part(batch.spot_image, 75), want.spot_image);
    EXPECT_EQ(part(batch.niche_image, 147), want.niche_image);
    EXPECT_EQ(part(batch.spot_gene, 9), want.spot_gene);
    EXPECT_EQ(part(batch.niche_gene, 11), want.niche_gene);
  }
}

TEST(Loader, BatchesAreTheSamplersRowsForAnyNumberOfThreadsAndRanks) {
  const TwoPacks made;
  const PackSet packs(made.paths());
  ASSERT_EQ(packs.rows(), 26);
  const Sampler sampler(26, 8, 11);
  for (int size : {1, 2, 4})
    for (int threads : {1, 2, 5})
      for (int rank = 0; rank < size; ++rank) {
        Loader loader(packs, sampler, 2, 11, rank, size, 3, threads);
        for (std::int64_t step = 2; step < 11; ++step) {
          HostBatch batch = loader.next();
          EXPECT_EQ(batch.step, step);
          EXPECT_EQ(batch.epoch, step / 3);
          EXPECT_EQ(batch.first_position, rank * 8 / size);
          EXPECT_EQ(batch.row, sampler.rank_rows(step, rank, size));
          expect_batch(made, batch);
          if (step % 2) loader.recycle(std::move(batch));
        }
        EXPECT_THROW(loader.next(), Error);
      }
}

TEST(Loader, MayBeLeftBeforeTheEnd) {
  const TwoPacks made;
  const PackSet packs(made.paths());
  for (int i = 0; i < 20; ++i) {
    Loader loader(packs, Sampler(26, 8, 1), 0, 1'000'000, 0, 1, 2, 3);
    if (i % 2) loader.next();
  }
  Loader nothing(packs, Sampler(26, 8, 1), 5, 5, 0, 1);
}

TEST(Loader, ErrorsOfReadingThreadsComeOutOfNext) {
  const TwoPacks made;
  const PackSet packs(made.paths());
  // the file shrinks under the loader
  std::filesystem::resize_file(made.folder / "a.h5", 100);
  Loader loader(packs, Sampler(26, 26, 1), 0, 4, 0, 1, 3, 2);
  for (int again = 0; again < 2; ++again) try {
      loader.next();
      FAIL() << "expected a throw";
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), exit_data);
      EXPECT_NE(std::string(e.what()).find("a.h5"), std::string::npos) << e.what();
    }
}

TEST(PackSet, RefusesPacksThatDisagree) {
  const auto refuse = [](const std::vector<std::string>& paths, const std::string& word) {
    try {
      PackSet packs(paths);
      ADD_FAILURE() << "expected a throw for " << word;
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), exit_data);
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  const TwoPacks made;
  refuse({made.folder / "a.h5", made.folder / "a.h5"}, "give each slide once");
  auto other = made.b;
  other.genes[4] = "ELSE";
  test::write_pack(test::world(), made.folder / "c.h5", other);
  refuse({made.folder / "a.h5", made.folder / "c.h5"}, "'ELSE'");
  other = made.b;
  other.header.niche_px = 8;
  test::write_pack(test::world(), made.folder / "d.h5", other);
  refuse({made.folder / "a.h5", made.folder / "d.h5"}, "niche image px 7");
  other = made.b;
  other.header.spot_window_um += 50;
  test::write_pack(test::world(), made.folder / "f.h5", other);
  refuse({made.folder / "a.h5", made.folder / "f.h5"}, "spot window um");
  other = made.b;
  other.slides[0].um_per_px = 0;
  test::write_pack(test::world(), made.folder / "e.h5", other);
  refuse({made.folder / "a.h5", made.folder / "e.h5"}, "um_per_px");
}

TEST(PackSet, RowsThatAreNotFiniteAreNamed) {
  for (const char* name : {"/spots/spot_gene", "/spots/niche_gene"}) {
    const TwoPacks made;
    {
      h5::File file = h5::File::open_to_write(made.folder / "b.h5");
      const auto width = static_cast<std::size_t>(file.dataset(name).shape[1]);
      std::vector<float> row(width, 1);
      row[width - 1] = std::numeric_limits<float>::quiet_NaN();
      file.write_rows(name, h5::Type::f32, row.data(), 3, 1);
      file.close();
    }
    const PackSet packs(made.paths());
    const std::int64_t first = packs.pack(0).header().spots;
    HostBatch batch;
    packs.read({0, first + 2}, batch);
    const std::string what = test::error_of(ErrorKind::data, [&] { packs.read({0, first + 3}, batch); });
    for (const char* word : {"row 3", "b.h5", "not all finite"}) EXPECT_TRUE(test::has(what, word)) << what;
  }
}

// Features of `width`: row r holds r + column / 8. `blocks`: how many of the blocks of 8 rows are written.
void add_features(const std::string& path, FeatureKind kind, std::int64_t width, const std::string& checksum,
                  std::size_t blocks = 100) {
  FeatureInfo want;
  want.width = width;
  want.block_rows = 8;
  want.checksum = checksum;
  FeatureWriter w(test::world(), path, kind, want, true);
  for (std::size_t i = 0; i < std::min(blocks, w.todo().size()); ++i) {
    std::vector<float> values;
    for (std::int64_t r = 0; r < w.rows(w.todo()[i]); ++r)
      for (std::int64_t c = 0; c < width; ++c)
        values.push_back(static_cast<float>(w.first_row(w.todo()[i]) + r) + static_cast<float>(c) / 8);
    w.write(w.todo()[i], values);
  }
  w.finish();
}

TEST(PackSet, FeaturesStandInForImagesAndGenes) {
  const TwoPacks made;
  const auto paths = made.paths();
  const std::string plain = PackSet(paths).fingerprint();
  for (std::size_t p = 0; p < 2; ++p) {
    add_features(paths[p], FeatureKind::niche_image, 4, "weights");
    add_features(paths[p], FeatureKind::spot_gene, 3, "values of " + paths[p]);
  }
  PackSet packs(paths);
  EXPECT_EQ(packs.features_missing(FeatureKind::niche_image), "");
  EXPECT_EQ(packs.spot_width(), 9);
  HostBatch batch;
  packs.read({3, 20}, batch);  // without being asked for, they change nothing
  EXPECT_TRUE(batch.niche_feature.empty());
  EXPECT_EQ(batch.niche_image.size(), 2U * 147);
  EXPECT_EQ(packs.fingerprint(), plain);

  packs.read_stored({true, false});
  packs.read({3, 20}, batch);
  EXPECT_TRUE(batch.niche_image.empty());
  EXPECT_EQ(batch.niche_feature, (std::vector<float>{3, 3.125F, 3.25F, 3.375F, 3, 3.125F, 3.25F, 3.375F}));
  EXPECT_EQ(batch.spot_gene.size(), 18U);
  EXPECT_EQ(packs.fingerprint(), plain) << "a cache is no other data";

  packs.read_stored({true, true});
  EXPECT_EQ(packs.spot_width(), 3);
  packs.read({16, 17}, batch);
  EXPECT_EQ(batch.spot_gene, (std::vector<float>{16, 16.125F, 16.25F, 0, 0.125F, 0.25F}));
  EXPECT_EQ(batch.niche_feature[0], 16);
  EXPECT_EQ(batch.niche_gene.size(), 22U);
  EXPECT_NE(packs.fingerprint(), plain) << "other embeddings are other data";
}

TEST(PackSet, FeaturesMustBeCompleteAndAlike) {
  const TwoPacks made;
  const auto paths = made.paths();
  const auto missing = [&](FeatureKind kind) {
    PackSet packs(paths);
    const std::string why = packs.features_missing(kind);
    EXPECT_THROW(packs.read_stored({kind == FeatureKind::niche_image, kind == FeatureKind::spot_gene}), Error);
    return why;
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(missing(FeatureKind::niche_image), "has no niche_image features"));
  add_features(paths[0], FeatureKind::niche_image, 4, "weights");
  EXPECT_TRUE(has(missing(FeatureKind::niche_image), "b.h5' has no"));
  add_features(paths[1], FeatureKind::niche_image, 4, "weights", 1);
  EXPECT_TRUE(has(missing(FeatureKind::niche_image), "1 of 2 blocks of 8 rows"));
  add_features(paths[1], FeatureKind::niche_image, 4, "others");
  EXPECT_TRUE(has(missing(FeatureKind::niche_image), "weights and others"));
  for (std::size_t p = 0; p < 2; ++p)
    add_features(paths[p], FeatureKind::spot_gene, 3 + static_cast<std::int64_t>(p), "x");
  EXPECT_TRUE(has(missing(FeatureKind::spot_gene), "width 3 and 4"));
}

TEST(PackSet, FingerprintDependsOnTheOrder) {
  const TwoPacks made;
  const auto paths = made.paths();
  EXPECT_EQ(PackSet(paths).fingerprint(), PackSet(paths).fingerprint());
  EXPECT_NE(PackSet(paths).fingerprint(), PackSet({paths[1], paths[0]}).fingerprint());
}

}  // namespace
}  // namespace spn::data
