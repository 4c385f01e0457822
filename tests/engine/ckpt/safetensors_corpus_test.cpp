// Every file that fuzzing kept (tests/fuzz, launch/local/fuzz.sh) is read or refused by name, in CI and under
// sanitizers.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fuzz/safetensors_target.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

TEST(SafetensorsCorpus, IsReadOrRefusedByName) {
  const std::filesystem::path corpus = std::string(SPN_SOURCE_DIR) + "/tests/fuzz/corpus/safetensors";
  int named = 0, all = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    const std::string name = entry.path().filename().string();
    test::FileWas was = test::FileWas::refused;
    ASSERT_NO_THROW(was = test::read_safetensors_wholly(entry.path().string())) << name;
    ++all;
    // the ones written by hand say what they are; those that the fuzzer found are named by a hash
    if (name.find('-') == std::string::npos && name.size() == 40) continue;
    ++named;
    EXPECT_EQ(was == test::FileWas::whole, name.starts_with("whole-")) << name;
  }
  EXPECT_GE(named, 40);
  EXPECT_GT(all, named) << "nothing of the fuzzer's in the corpus";
}

}  // namespace
}  // namespace spn
