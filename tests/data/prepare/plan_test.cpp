// Which slides are taken, and by which rank.
#include "data/prepare/plan.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace spn::data {
namespace {

std::vector<SlideInfo> slides(const std::vector<std::string>& names) {
  std::vector<SlideInfo> out(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) out[i].name = names[i];
  return out;
}

std::vector<std::string> chosen(const std::vector<std::string>& patterns) {
  std::vector<std::string> out;
  for (const SlideInfo& s : select_slides(slides({"A_1", "A_2", "A_[x]", "B+1"}), patterns)) out.push_back(s.name);
  return out;
}

TEST(Plan, SlidesByNameGlobAndList) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(chosen({}), (Names{"A_1", "A_2", "A_[x]", "B+1"}));
  EXPECT_EQ(chosen({"B+1,A_2"}), (Names{"A_2", "B+1"}));
  EXPECT_EQ(chosen({"A_?", " B+1 "}), (Names{"A_1", "A_2", "B+1"}));
  EXPECT_EQ(chosen({"A_[x]"}), (Names{"A_[x]"}));  // a name first, a glob second
  EXPECT_EQ(chosen({"*"}).size(), 4U);
  const std::string what = test::error_of(ErrorKind::usage, [] { chosen({"A_1,C*"}); });
  EXPECT_TRUE(test::has(what, "'C*'") && test::has(what, "A_1, A_2")) << what;
}

TEST(Plan, LargestFirstToTheIdlest) {
  EXPECT_EQ(spread({10, 50, 30, 20}, 2), (std::vector<int>{0, 0, 1, 1}));
  EXPECT_EQ(spread({5, 5}, 4), (std::vector<int>{0, 1}));
  EXPECT_EQ(spread({0, 0, 0}, 3), (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(spread({}, 2).empty());
}

}  // namespace
}  // namespace spn::data
