// N ranks in one process: the joined ranks are the global order, whatever N; epochs are permutations; any step is
// reached alone.
#include "data/sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/core/check.h"

namespace spn::data {
namespace {

TEST(Sampler, JoinedRanksAreTheGlobalBatch) {
  const Sampler s(1003, 24, 7);
  for (std::int64_t step : {0, 1, 40, 41, 42, 200})
    for (int size : {1, 2, 3, 4, 6, 8, 12, 24}) {
      std::vector<std::int64_t> joined;
      for (int r = 0; r < size; ++r) {
        const auto mine = Sampler(1003, 24, 7).rank_rows(step, r, size);
        EXPECT_EQ(mine.size(), static_cast<std::size_t>(24 / size));
        joined.insert(joined.end(), mine.begin(), mine.end());
      }
      EXPECT_EQ(joined, s.global_rows(step)) << step << " on " << size;
    }
}

TEST(Sampler, AnEpochShowsEveryRowOnceButTheRemainder) {
  const Sampler s(1003, 24, 7);
  EXPECT_EQ(s.steps_per_epoch(), 41);
  EXPECT_EQ(s.dropped_per_epoch(), 19);
  std::set<std::int64_t> dropped_of[3];
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < 41; ++i) {
      const std::int64_t step = epoch * 41 + i;
      EXPECT_EQ(s.epoch_of(step), epoch);
      for (std::int64_t row : s.global_rows(step)) {
        EXPECT_TRUE(row >= 0 && row < 1003);
        EXPECT_TRUE(seen.insert(row).second) << "row " << row << " twice in epoch " << epoch;
      }
    }
    EXPECT_EQ(seen.size(), 984U);
    for (std::int64_t row = 0; row < 1003; ++row)
      if (!seen.count(row)) dropped_of[epoch].insert(row);
  }
  // the dropped rows are others in another epoch
  EXPECT_NE(dropped_of[0], dropped_of[1]);
  EXPECT_NE(dropped_of[1], dropped_of[2]);
}

TEST(Sampler, ResumesAtAnyStep) {
  const Sampler straight(100, 10, 3);
  std::vector<std::vector<std::int64_t>> all;
  for (std::int64_t step = 0; step < 35; ++step) all.push_back(straight.global_rows(step));
  for (std::int64_t step : {34, 9, 10, 0, 29, 11})
    EXPECT_EQ(Sampler(100, 10, 3).global_rows(step), all[static_cast<std::size_t>(step)]) << step;
  // backwards with one sampler, so across its cache
  for (std::int64_t step = 34; step >= 0; --step)
    EXPECT_EQ(straight.global_rows(step), all[static_cast<std::size_t>(step)]);
}

TEST(Sampler, SeedAndEpochDecideTheOrder) {
  EXPECT_EQ(Sampler(500, 500, 1).global_rows(0), Sampler(500, 500, 1).global_rows(0));
  EXPECT_NE(Sampler(500, 500, 1).global_rows(0), Sampler(500, 500, 2).global_rows(0));
  EXPECT_NE(Sampler(500, 500, 1).global_rows(0), Sampler(500, 500, 1).global_rows(1));
}

TEST(Sampler, NoRowPrefersAPosition) {
  // 2000 epochs of 8 rows: each (row, position) expected 250 times, standard deviation about 15
  const Sampler s(8, 8, 5);
  int count[8][8] = {};
  for (std::int64_t epoch = 0; epoch < 2000; ++epoch) {
    const auto rows = s.global_rows(epoch);
    for (std::size_t p = 0; p < 8; ++p) ++count[rows[p]][p];
  }
  for (auto& row : count)
    for (int c : row) EXPECT_TRUE(c > 250 - 75 && c < 250 + 75) << c;
}

TEST(Sampler, WrongSizesAreUsageErrors) {
  const auto usage = [](auto&& f) {
    try {
      f();
      ADD_FAILURE() << "expected a throw";
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), exit_usage) << e.what();
    }
  };
  usage([] { Sampler(9, 10, 0); });
  usage([] { Sampler(9, 0, 0); });
  usage([] { Sampler(100, 10, 0).rank_rows(0, 0, 3); });
}

}  // namespace
}  // namespace spn::data
