// `spotniche prepare` as a user runs it, its rows recomputed in Python from the files (numpy, Pillow, h5py).
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/cli_run.h"
#include "tests/support/errors.h"
#include "tests/support/find_python.h"
#include "tests/support/made_slides.h"
#include "tests/support/paths.h"
#include "tests/support/run_binary.h"
#include "tests/support/temp_folder.h"

namespace spn::test {
namespace {

// Rows of the pack against numpy and Pillow; the script's own words when they differ.
void check_rows(const std::string& python, const std::string& args) {
  const std::string command = python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_prepare.py' " + args;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(Prepare, RowsEqualPythonsOnMadeSlides) {
  SPN_FIND_PYTHON(python, "h5py, numpy, PIL");
  const TempFolder folder;
  make_slides(folder / "in");
  const std::string base = "prepare --input '" + folder.path() + "/in' --spot-window-um 50 --gene-count 8 --force ";
  struct Case {
    const char *name, *before, *options;
  };
  for (const Case& c : {Case{"a.h5", "", ""}, Case{"b.h5", "", "--niche-neighbours 3 --gene-type f16"},
                        Case{"c.h5", "", "--niche-window-um 120 --niche-radius-um 210 --niche-image-px 33"}}) {
    const std::string pack = folder / c.name;
    const Ran ran = run_binary(base + "--output '" + pack + "' " + c.options, c.before);
    ASSERT_EQ(ran.status, 0) << ran.text;
    EXPECT_TRUE(has(ran.text, "1 spots dropped: no counts")) << ran.text;
    EXPECT_TRUE(has(ran.text, "1 spots dropped: centre outside the image")) << ran.text;
    EXPECT_TRUE(has(ran.text, "3 slides, 55 spots, 8 genes")) << ran.text;
    check_rows(python, "'" + pack + "' '" + folder.path() + "/in' 30 --variable");
  }
}

TEST(Prepare, RowsEqualPythonsOnRealSlides) {
  const char* slides = std::getenv("SPN_REAL_SLIDES");
  if (slides == nullptr) GTEST_SKIP() << "SPN_REAL_SLIDES is not set: no real slide was prepared";
  SPN_FIND_PYTHON(python, "h5py, numpy, PIL");
  const TempFolder folder;
  const Ran ran =
      run_binary("prepare --input '" + std::string(slides) + "' --output '" + (folder / "real.h5") + "'", on_ranks(2));
  ASSERT_EQ(ran.status, 0) << ran.text;
  check_rows(python, "'" + (folder / "real.h5") + "' '" + slides + "' 3 --variable");
}

TEST(Prepare, HelpAndMistakes) {
  const TempFolder folder;
  const Ran help = run_binary("prepare --help");
  EXPECT_EQ(help.status, 0);
  for (const char* option : {"--format", "--slides", "--gene-list", "--gene-count", "--niche-radius-um", "--pitch-um"})
    EXPECT_TRUE(has(help.text, option)) << option;
  make_slides(folder / "in");
  const std::string base = "prepare --input '" + folder.path() + "/in' --output '" + folder.path() + "/p.h5' ";
  EXPECT_EQ(run_binary(base + "--gene-list x --gene-count 5").status, 2);
  EXPECT_EQ(run_binary(base + "--format hest").status, 2);
  EXPECT_EQ(run_binary(base + "--slides Q_ST").status, 2);
  EXPECT_EQ(run_binary(base + "--slides J_ST,T_ST --gene-count 4").status, 0);
  EXPECT_EQ(run_binary(base).status, 2) << "the output exists";
  EXPECT_EQ(run_binary("prepare --input /does/not/exist --output '" + (folder / "q.h5") + "'").status, 3);
}

}  // namespace
}  // namespace spn::test
