// What is said where no GPU can be used: each cause by itself, with both versions and what to do.
#include "kernels/gpu_fit.h"

#include <gtest/gtest.h>

#include "kernels/devices.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

void expect_says(const GpuState& state, const std::vector<std::string>& words) {
  const std::string said = why_no_gpu(state);
  for (const std::string& w : words) EXPECT_NE(said.find(w), std::string::npos) << "'" << w << "' in: " << said;
}

TEST(GpuFit, SaysWhichOfTheCausesItIs) {
  expect_says({.runtime = 13000}, {"no NVIDIA driver", "CUDA 13.0", "--gpus all", "--device cpu"});
  expect_says({.runtime = 13000, .driver = 12040, .error = "driver version is insufficient"},
              {"too old", "it is for CUDA 12.4, this build for CUDA 13.0", "CUDA 13.0 or newer", "CUDA 12 toolkit"});
  expect_says({.runtime = 13000, .driver = 13010, .visible = "''"}, {"CUDA 13.1", "no GPU", "is ''", "--gpus"});
  expect_says({.runtime = 13000, .driver = 13000, .error = "system not yet initialized"},
              {"refuses: system not yet initialized", "nvidia-smi"});
}

TEST(GpuFit, SaysNothingWhereThereIsADevice) {
  EXPECT_EQ(why_no_gpu({.runtime = 13000, .driver = 13000, .devices = 1}), "");
  EXPECT_EQ(why_no_gpu({.runtime = 13020, .driver = 13000, .devices = 1}), "");  // of one generation
  EXPECT_EQ(why_no_gpu({.runtime = 12080, .driver = 13000, .devices = 8}), "");
}

TEST(GpuFit, CodeForADevice) {
  const char* ours = "80-real;90a-real;100";
  EXPECT_TRUE(has_code_for(ours, 8, 0));
  EXPECT_TRUE(has_code_for(ours, 8, 6));  // later of its generation
  EXPECT_TRUE(has_code_for(ours, 9, 0));
  EXPECT_TRUE(has_code_for(ours, 10, 0));
  EXPECT_TRUE(has_code_for(ours, 12, 0));  // translated
  EXPECT_FALSE(has_code_for(ours, 7, 5));
  EXPECT_FALSE(has_code_for("90a-real", 9, 1));
  EXPECT_FALSE(has_code_for("80-real;90a-real", 10, 0));
  EXPECT_FALSE(has_code_for("90a-real", 8, 0));
  EXPECT_FALSE(has_code_for("86-real", 8, 0));
  EXPECT_TRUE(has_code_for("80-virtual", 9, 0));
  EXPECT_TRUE(has_code_for("80-virtual", 8, 0));
  EXPECT_TRUE(has_code_for("native", 8, 0));
  EXPECT_FALSE(has_code_for("", 8, 0));
}

TEST(GpuFit, ThisBuildSaysWhyItHasNone) {
  EXPECT_EQ(why_no_cuda_device().empty(), cuda_device_count() > 0);
  if (cuda_table() == nullptr) {
    EXPECT_NE(why_no_cuda_device().find("no CUDA backend"), std::string::npos) << why_no_cuda_device();
  }
}

}  // namespace
}  // namespace spn::kernels
