// Packs written by all ranks: what comes back, and what is left behind when a rank fails.
#include <gtest/gtest.h>

#include <optional>

#include "data/pack/reader.h"
#include "data/pack/writer.h"
#include "engine/dist/together.h"
#include "tests/support/full_disk.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

using test::world;

void expect_whole(const std::string& path, const test::MadePack& plan) {
  const PackReader pack(path);
  const std::int64_t n = plan.header.spots;
  const PackRows want = test::made_rows(plan, 0, n);
  ASSERT_EQ(pack.header().spots, n);
  EXPECT_EQ(pack.read_names(), want.name);
  EXPECT_EQ(pack.read_slide_index(), want.slide);
  EXPECT_EQ(pack.read_xy(), want.xy);
  EXPECT_EQ(pack.read_array(false), want.array_row);
  EXPECT_EQ(pack.read_array(true), want.array_col);
  EXPECT_EQ(pack.genes(), plan.genes);
  if (plan.header.has_cluster) {
    EXPECT_EQ(pack.read_clusters(), want.cluster);
  }
  std::vector<std::uint8_t> spot(want.spot_image.size()), niche(want.niche_image.size());
  std::vector<float> spot_gene(want.spot_gene.size()), niche_gene(want.niche_gene.size());
  const auto part = [n](auto& v, std::int64_t row) { return v.data() + row * static_cast<std::int64_t>(v.size()) / n; };
  for (std::int64_t i = 0; i < n; ++i)
    pack.read_row(i, {part(spot, i), part(niche, i), part(spot_gene, i), part(niche_gene, i)});
  EXPECT_EQ(spot, want.spot_image);
  EXPECT_EQ(niche, want.niche_image);
  EXPECT_EQ(spot_gene, want.spot_gene);
  EXPECT_EQ(niche_gene, want.niche_gene);
  ASSERT_EQ(pack.slides().size(), plan.slides.size());
  for (std::size_t s = 0; s < plan.slides.size(); ++s) {
    EXPECT_EQ(pack.slides()[s].name, plan.slides[s].name);
    EXPECT_EQ(pack.slides()[s].um_per_px, plan.slides[s].um_per_px);
    EXPECT_EQ(pack.slides()[s].first_row, plan.slides[s].first_row);
    EXPECT_EQ(pack.slides()[s].rows, plan.slides[s].rows);
    EXPECT_EQ(pack.slides()[s].padded_windows, plan.slides[s].padded_windows);
  }
}

TEST(PackWrite, AllRanksWriteWhatAllRanksRead) {
  // fewer slides than ranks, as many, more; one spot; both gene types
  for (const auto& rows : std::vector<std::vector<std::int64_t>>{{1}, {17, 3}, {5, 1, 9, 40, 2, 13}})
    for (GeneType type : {GeneType::f32, GeneType::f16}) {
      test::TempFolder folder(world());
      const auto plan = test::plan_pack(rows, type, rows.size() != 2);
      test::write_pack(world(), folder / "a.h5", plan);
      EXPECT_EQ(folder.files(), std::vector<std::string>{"a.h5"});
      expect_whole(folder / "a.h5", plan);
    }
}

TEST(PackWrite, ReplacesAnOldPackOnlyWhenWhole) {
  test::TempFolder folder(world());
  const auto old_plan = test::plan_pack({4}), new_plan = test::plan_pack({6, 6});
  test::write_pack(world(), folder / "a.h5", old_plan);
  {
    PackWriter unfinished(world(), folder / "a.h5", new_plan.header);
    world().barrier();
    EXPECT_EQ(folder.files().size(), 3U);  // and the lock
    world().barrier();
  }
  world().barrier();
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.h5"});
  expect_whole(folder / "a.h5", old_plan);
  world().barrier();
  test::write_pack(world(), folder / "a.h5", new_plan);
  expect_whole(folder / "a.h5", new_plan);
}

TEST(PackWrite, OneRanksFailureLeavesNothing) {
  test::TempFolder folder(world());
  const auto plan = test::plan_pack({8, 8, 8, 8});
  try {
    PackWriter writer(world(), folder / "a.h5", plan.header);
    dist::together(world(), "prepare", [&] {
      if (world().rank() == world().size() - 1) fail_data("reader", "row 3 is cut short");
    });
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_NE(std::string(e.what()).find("row 3 is cut short"), std::string::npos) << e.what();
  }
  world().barrier();
  EXPECT_TRUE(folder.files().empty());
}

TEST(PackWrite, DuplicateNamesOverRanksAreNamed) {
  test::TempFolder folder(world());
  auto plan = test::plan_pack({4, 4, 4, 4});
  try {
    PackWriter writer(world(), folder / "a.h5", plan.header);
    std::vector<PackSlide> mine;
    for (int s = world().rank(); s < 4; s += world().size()) {
      auto rows = test::made_rows(plan, 4 * s, 4);
      if (s == 1 || s == 3) rows.name[2] = "twin_spot";
      writer.write(4 * s, rows);
      mine.push_back(plan.slides[static_cast<std::size_t>(s)]);
    }
    writer.finish(mine, plan.genes);
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data);
    EXPECT_NE(std::string(e.what()).find("'twin_spot' in rows 6 and 14"), std::string::npos) << e.what();
  }
  world().barrier();
  EXPECT_TRUE(folder.files().empty());
}

TEST(PackWrite, OneRanksFullDiskFailsAll) {
  test::TempFolder folder(world());
  const auto plan = test::plan_pack({200, 200, 200, 200});
  const auto write = [&](PackWriter& writer) {
    dist::together(world(), "prepare", [&] {
      std::optional<test::FileLimit> full;
      if (world().rank() == world().size() - 1) full.emplace(4096);
      for (int s = world().rank(); s < 4; s += world().size())
        writer.write(200 * s, test::made_rows(plan, 200 * s, 200));
    });
  };
  try {
    PackWriter writer(world(), folder / "a.h5", plan.header);
    write(writer);
    ADD_FAILURE() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data) << e.what();
    EXPECT_NE(std::string(e.what()).find("/spots/"), std::string::npos) << e.what();
  }
  world().barrier();
  EXPECT_TRUE(folder.files().empty());
  world().barrier();
  // and the names, which rank 0 adds alone
  try {
    PackWriter writer(world(), folder / "b.h5", plan.header);
    std::vector<PackSlide> mine;
    for (int s = world().rank(); s < 4; s += world().size()) {
      writer.write(200 * s, test::made_rows(plan, 200 * s, 200));
      mine.push_back(plan.slides[static_cast<std::size_t>(s)]);
    }
    const test::FileLimit full(4096);
    writer.finish(mine, plan.genes);
    ADD_FAILURE() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data) << e.what();
  }
  world().barrier();
  EXPECT_TRUE(folder.files().empty());
}

TEST(PackWrite, MissingFolderIsADataErrorOnEveryRank) {
  test::TempFolder folder(world());
  const auto plan = test::plan_pack({4});
  try {
    PackWriter writer(world(), folder / "no/such/a.h5", plan.header);
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data);
    EXPECT_NE(std::string(e.what()).find("existing folder"), std::string::npos) << e.what();
  }
}

TEST(PackWrite, ARowNobodyWroteIsFound) {
  test::TempFolder folder(world());
  const auto plan = test::plan_pack({4, 4});
  try {
    PackWriter writer(world(), folder / "a.h5", plan.header);
    if (world().rank() == 0) writer.write(0, test::made_rows(plan, 0, 7));
    writer.finish(world().rank() == 0 ? plan.slides : std::vector<PackSlide>{}, plan.genes);
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("none for row 7"), std::string::npos) << e.what();
  }
  world().barrier();
  EXPECT_TRUE(folder.files().empty());
}

}  // namespace
}  // namespace spn::data
