// `prepare --gene-list` takes the genes of a pack, in its order: what a model trained on that pack needs.
#include <gtest/gtest.h>

#include "data/pack/reader.h"
#include "tests/support/run_binary.h"
#include "tests/support/temp_folder.h"

namespace spn::test {
namespace {

TEST(GeneList, ComesFromAPack) {
  const TempFolder folder;
  const std::string in = folder / "slides", first = folder / "first.h5", second = folder / "second.h5";
  ASSERT_EQ(run_binary("synth --slides 2 --spots 40 --genes 96 --output '" + in + "'").status, 0);
  Ran ran = run_binary("prepare --input '" + in + "' --gene-count 32 --output '" + first + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  ran = run_binary("prepare --input '" + in + "' --gene-list '" + first + "' --output '" + second + "'");
  ASSERT_EQ(ran.status, 0) << ran.text;
  EXPECT_EQ(data::PackReader(first).genes(), data::PackReader(second).genes());
  EXPECT_EQ(data::PackReader(second).genes().size(), 32u);
}

}  // namespace
}  // namespace spn::test
