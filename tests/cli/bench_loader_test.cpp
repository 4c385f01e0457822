// bench loader: a figure from a small pack, on one rank and on two.
#include <gtest/gtest.h>

#include "engine/core/check.h"
#include "engine/core/json.h"
#include "tests/support/made_pack.h"
#include "tests/support/run_binary.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn {
namespace {

TEST(BenchLoader, PrintsOneJsonLineThatAddsUp) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", test::plan_pack({30, 20}));
  for (const int ranks : {1, 2}) {
    const test::Ran ran =
        test::run_binary("bench loader --pack '" + (folder / "a.h5") + "' --batch 16 --seconds 0.1 --threads 2",
                         ranks > 1 ? "mpirun -np 2 --oversubscribe" : "");
    ASSERT_EQ(ran.status, exit_ok) << ran.text;
    const auto begin = ran.text.find('{');
    ASSERT_NE(begin, std::string::npos) << ran.text;
    const auto j = parse_json(ran.text.substr(begin, ran.text.find('\n', begin) - begin));
    EXPECT_EQ(j["ranks"], ranks);
    EXPECT_EQ(j["row_bytes"], 75 + 147 + 4 * 20);
    EXPECT_GT(j["rows_per_s"].get<double>(), 0);
    const double mb = j["rows_per_s"].get<double>() * 302e-6;
    EXPECT_NEAR(j["mb_per_s"].get<double>(), mb, 1e-6 * mb);
  }
}

TEST(BenchLoader, RefusesABatchLargerThanThePack) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", test::plan_pack({30, 20}));
  const test::Ran ran = test::run_binary("bench loader --pack '" + (folder / "a.h5") + "' --batch 51");
  EXPECT_EQ(ran.status, exit_usage) << ran.text;
  EXPECT_NE(ran.text.find("50 rows"), std::string::npos) << ran.text;
}

}  // namespace
}  // namespace spn
