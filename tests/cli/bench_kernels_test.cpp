// `bench kernels` as a user runs it, on the CPU: a line of JSON a kernel, a table, its refusals.
#include <gtest/gtest.h>

#include <sstream>

#include "engine/core/json.h"
#include "tests/support/run_binary.h"

namespace spn::test {
namespace {

TEST(BenchKernels, PrintsALineOfJsonAKernel) {
  const Ran ran = run_binary("bench kernels --elements 5000 --repeats 2");
  ASSERT_EQ(ran.status, 0) << ran.text;
  std::istringstream lines(ran.text);
  std::string line;
  int kernels = 0;
  while (std::getline(lines, line)) {
    if (line.empty() || line[0] != '{') continue;
    const auto j = parse_json(line);
    EXPECT_EQ(j["bench"], "kernels");
    EXPECT_EQ(j["rung"], "shipped");
    EXPECT_TRUE(j["shipped"].get<bool>());
    EXPECT_EQ(j["repeats"], 2);
    EXPECT_EQ(j["elements"], 5000);
    EXPECT_GT(j["gb_per_s"].get<double>(), 0);
    EXPECT_GT(j["copy_gb_per_s"].get<double>(), 0);
    if (j["kernel"] == "adamw") {
      EXPECT_EQ(j["bytes"], 5000 * 28 + 5 * 8);  // rates, squares, updates both ways
    }
    ++kernels;
  }
  EXPECT_EQ(kernels, 16);
  EXPECT_NE(ran.text.find("of copy"), std::string::npos) << ran.text;
}

TEST(BenchKernels, OneKernel) {
  const Ran ran = run_binary("bench kernels --elements 5000 --repeats 1 --only adamw");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(ran.text.find("adamw_copy"), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find("layer_norm"), std::string::npos) << ran.text;
}

TEST(BenchKernels, RefusesWhatItDoesNotKnow) {
  const Ran ran = run_binary("bench kernels --only softmax_of_nothing");
  EXPECT_EQ(ran.status, 2) << ran.text;
  EXPECT_NE(ran.text.find("layer_norm_fwd"), std::string::npos) << ran.text;
  EXPECT_EQ(run_binary("bench kernels --elements -1").status, 2);
  EXPECT_EQ(run_binary("bench kernels --repeats 0").status, 2);
}

}  // namespace
}  // namespace spn::test
