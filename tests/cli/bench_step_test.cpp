// `bench step` on cached features, and its refusals. Its figures are of no interest here.
#include <gtest/gtest.h>

#include <regex>

#include "engine/core/check.h"
#include "engine/core/json.h"
#include "tests/support/cli_run.h"

namespace spn::test {
namespace {

// How often a step calls a kernel, by the table of --profile; 0 when it is not there.
int calls(const Ran& ran, const std::string& entry) {
  std::smatch found;
  return std::regex_search(ran.text, found, std::regex(entry + " .* (\\d+) calls")) ? std::stoi(found[1]) : 0;
}

TEST(BenchStep, OnFeaturesNicheImagesAreNotEmbedded) {
  const std::string what =
      std::string("bench step --profile --steps 1 --warm-up 1 --global-batch 4 --vit-frozen true ") + kSmallModel;
  const Ran images = run_binary(what), features = run_binary(what + "--features");
  for (const Ran* ran : {&images, &features}) {
    ASSERT_EQ(ran->status, exit_ok) << ran->text;
    const auto j = parse_json(ran->text.substr(0, ran->text.find('\n')));
    EXPECT_EQ(j["features"], ran == &features);
    EXPECT_EQ(j["batch_norm"], "sync");
    EXPECT_EQ(j["micro_batch"], 0);
    EXPECT_GT(j["pairs_per_s"], 0);
  }
  const auto profile = parse_json(images.text.substr(images.text.rfind("{\"bench\":\"profile\"")));
  for (const char* rate : {"copy_gb_per_s", "matmul_gflops", "floor"}) EXPECT_GT(profile[rate], 0) << rate;
  for (const auto& e : profile["entries"]) {
    EXPECT_GT(e["gb_per_s"], 0) << e;
    EXPECT_GT(e["of_bound"], 0) << e;
    EXPECT_EQ(e["gflop_per_s"] > 0, e["entry"] == "gemm" || e["entry"].get<std::string>().starts_with("conv") ||
                                        e["entry"].get<std::string>().starts_with("attention") ||
                                        e["entry"].get<std::string>().starts_with("contrastive"))
        << e;
  }
  EXPECT_EQ(calls(images, "image_embed"), 2) << images.text;
  EXPECT_EQ(calls(features, "image_embed"), 1) << features.text;
}

TEST(BenchStep, FeaturesOfATrainedVitAreRefused) {
  const Ran ran = run_binary(std::string("bench step --features --steps 1 --global-batch 4 ") + kSmallModel);
  EXPECT_EQ(ran.status, exit_usage) << ran.text;
  EXPECT_NE(ran.text.find("--vit-frozen"), std::string::npos) << ran.text;
}

TEST(BenchStep, WordsThatNobodyKnowsAreRefused) {
  for (const char* what : {"--batch-norm frozenn", "--cuda-graph on"}) {
    const Ran ran = run_binary(std::string("bench step --steps 1 --global-batch 4 ") + what + kSmallModel);
    EXPECT_EQ(ran.status, exit_usage) << ran.text;
    EXPECT_NE(ran.text.find("expected one of"), std::string::npos) << ran.text;
  }
}

TEST(BenchStep, NumbersOutOfRangeAreRefused) {
  for (const char* what : {"--warm-up -5", "--steps -1", "--micro-batch -1"}) {
    const Ran ran = run_binary(std::string("bench step --global-batch 4 ") + what + kSmallModel);
    EXPECT_EQ(ran.status, exit_usage) << what << ran.text;
    EXPECT_NE(ran.text.find(std::string(what).substr(2, 5)), std::string::npos) << ran.text;
  }
}

TEST(Bench, HelpNamesTheParts) {
  for (const char* help : {"--help", "-h"}) {
    const Ran ran = run_binary(std::string("bench ") + help);
    EXPECT_EQ(ran.status, exit_ok) << ran.text;
    EXPECT_NE(ran.text.find("step, part, loss, loader, kernels"), std::string::npos) << ran.text;
  }
  EXPECT_NE(run_binary("--help").text.find("step, part, loss, loader, kernels"), std::string::npos);
}

}  // namespace
}  // namespace spn::test
