// Features written by all ranks: the same bytes at any number of ranks, and one rank's failure is everybody's.
#include "data/pack/features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/pack/reader.h"
#include "data/pack/verify.h"
#include "engine/dist/together.h"
#include "tests/support/errors.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

using test::world;

FeatureInfo wanted() {
  FeatureInfo info;
  info.width = 5;
  info.type = GeneType::f16;
  info.block_rows = 3;
  info.checksum = "aaaa";
  return info;
}

std::vector<float> block_values(const FeatureWriter& w, std::int64_t block) {
  std::vector<float> v;
  for (std::int64_t i = 0; i < w.rows(block) * w.info().width; ++i)
    v.push_back(0.5F * static_cast<float>(w.first_row(block) * w.info().width + i));
  return v;
}

// Blocks [0, end) of what is left, dealt round the ranks.
void write_some(FeatureWriter& w, std::size_t end) {
  dist::together(world(), "test", [&] {
    for (std::size_t i = 0; i < std::min(end, w.todo().size()); ++i)
      if (static_cast<int>(i) % world().size() == world().rank()) w.write(w.todo()[i], block_values(w, w.todo()[i]));
  });
  w.finish();
}

TEST(FeaturesOnRanks, TheSameBytesAsOneRankWrites) {
  test::TempFolder folder(world());
  auto plan = test::plan_pack({17, 3, 8});
  plan.header.normalisation = "none";  // made values have another range
  test::write_pack(world(), folder / "a.h5", plan);
  if (world().rank() == 0) std::filesystem::copy_file(folder / "a.h5", folder / "b.h5");
  world().barrier();
  {
    FeatureWriter w(world(), folder / "a.h5", FeatureKind::niche_image, wanted(), false);
    EXPECT_EQ(w.todo().size(), 10U);
    write_some(w, 4);
  }
  world().barrier();
  EXPECT_EQ(PackReader(folder / "a.h5").features(FeatureKind::niche_image)->done, 4);
  world().barrier();
  {
    FeatureWriter w(world(), folder / "a.h5", FeatureKind::niche_image, wanted(), false);
    EXPECT_EQ(w.todo().size(), 6U);
    write_some(w, 6);
  }
  world().barrier();
  EXPECT_TRUE(verify_pack(PackReader(folder / "a.h5")).empty());
  // one rank alone
  if (world().rank() == 0) {
    const auto self = dist::make_self();
    FeatureWriter w(*self, folder / "b.h5", FeatureKind::niche_image, wanted(), false);
    for (const std::int64_t block : w.todo()) w.write(block, block_values(w, block));
    w.finish();
    EXPECT_EQ(test::read_text(folder / "a.h5"), test::read_text(folder / "b.h5"));
  }
  world().barrier();
}

TEST(FeaturesOnRanks, ARefusalReachesAllRanks) {
  test::TempFolder folder(world());
  test::write_pack(world(), folder / "a.h5", test::plan_pack({9}));
  { const FeatureWriter begun(world(), folder / "a.h5", FeatureKind::niche_image, wanted(), false); }
  FeatureInfo other = wanted();
  other.checksum = "bbbb";
  const std::string message = test::error_of(ErrorKind::data, [&] {
    FeatureWriter refused(world(), folder / "a.h5", FeatureKind::niche_image, other, false);
  });
  EXPECT_TRUE(test::has(message, "bbbb")) << message;
  // the last rank's values are not finite
  FeatureWriter w(world(), folder / "a.h5", FeatureKind::niche_image, wanted(), false);
  EXPECT_THROW(dist::together(world(), "test",
                              [&] {
                                auto v = block_values(w, 0);
                                v[0] = std::nanf("");
                                if (world().rank() == world().size() - 1) w.write(0, v);
                              }),
               Error);
  world().barrier();
  EXPECT_EQ(PackReader(folder / "a.h5").features(FeatureKind::niche_image)->done, 0);
  world().barrier();
}

}  // namespace
}  // namespace spn::data
