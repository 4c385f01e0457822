// `bench loss` as a user runs it: its JSON line, its memory, its refusals.
#include <gtest/gtest.h>

#include "engine/core/json.h"
#include "tests/support/run_binary.h"

namespace spn::test {
namespace {

TEST(BenchLoss, PrintsOneLineOfJson) {
  for (const char* negatives : {"all", "exclude_radius_um", "other_cluster"}) {
    const Ran ran =
        run_binary(std::string("bench loss --global-batch 600 --width 24 --repeats 2 --negatives ") + negatives);
    ASSERT_EQ(ran.status, 0) << ran.text;
    const auto at = ran.text.find('{');
    ASSERT_NE(at, std::string::npos) << ran.text;
    const auto j = parse_json(ran.text.substr(at, ran.text.find('\n', at) - at));
    EXPECT_EQ(j["bench"], "loss");
    EXPECT_EQ(j["negatives"], negatives);
    EXPECT_GT(j["gflops"].get<double>(), 0);
    // between chance and nothing: positives stand out
    EXPECT_GT(j["loss"].get<double>(), 0);
    EXPECT_LT(j["loss"].get<double>(), 6.4);
    EXPECT_LT(j["extra_bytes"].get<double>(), 4e6);
  }
}

// On the CPU bf16 products are multiplied in fp32; tests/cuda/bench_test.cpp sees the device round them.
TEST(BenchLoss, SaysWhatWasMultipliedInWhat) {
  for (const bool bf16 : {false, true}) {
    const Ran ran = run_binary(std::string("bench loss --global-batch 64 --width 24 --repeats 1 --precision ") +
                               (bf16 ? "bf16" : "fp32"));
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_NE(ran.text.find(bf16 ? "\"precision\":\"bf16\"" : "\"precision\":\"fp32\""), std::string::npos) << ran.text;
    EXPECT_NE(ran.text.find("\"products\":\"f32\""), std::string::npos) << ran.text;
    EXPECT_NE(ran.text.find("1024-cubed f32 matmul"), std::string::npos) << ran.text;
    EXPECT_NE(ran.text.find("\"matmul_size\":1024"), std::string::npos) << ran.text;
  }
}

TEST(BenchLoss, ManyRanksGiveTheSameKindOfFigure) {
  const Ran ran = run_binary("bench loss --global-batch 600 --width 24 --repeats 1", "mpirun -np 2 --oversubscribe");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_NE(ran.text.find("\"ranks\":2"), std::string::npos) << ran.text;
}

TEST(BenchLoss, RefusesBadSizes) {
  const Ran ran = run_binary("bench loss --global-batch 0");
  EXPECT_EQ(ran.status, 2) << ran.text;
  EXPECT_NE(ran.text.find("--global-batch"), std::string::npos) << ran.text;
  EXPECT_EQ(run_binary("bench loss --negatives none").status, 2);
  for (const char* what :
       {"--scale -1", "--exclude-radius-um 0 --negatives exclude_radius_um", "--exclude-radius-um 5"}) {
    const Ran refused = run_binary(std::string("bench loss --global-batch 8 --width 4 ") + what);
    EXPECT_EQ(refused.status, 2) << refused.text;
    EXPECT_NE(refused.text.find(std::string(what).substr(0, 7)), std::string::npos) << refused.text;
  }
}

}  // namespace
}  // namespace spn::test
