// Commands with --device cuda, in this process: a run's losses and embeddings beside those of --device cpu.
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <sstream>

#include "data/readers/embeddings.h"
#include "engine/dist/comm.h"
#include "launch/cli/command.h"
#include "tests/cuda/twin.h"
#include "tests/support/cli_run.h"

namespace spn {
namespace {

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

class CudaCommands : public test::Twin {};

TEST_F(CudaCommands, PretrainAndEmbedAsOnTheCpu) {
  const test::TempFolder folder;
  const auto world = dist::make_self();
  for (const std::string device : {"cpu", "cuda"}) {
    const std::string run = folder / device;
    ASSERT_EQ(cli::run_pretrain(*world,
                                words("--pack " + test::made_data().train_pack + " --output " + run +
                                      " --global-batch 8 --steps 5 --residency " + (device == "cuda" ? "gpu" : "disk") +
                                      test::kSmallModel + " --device " + device)),
              exit_ok);
  }
  const auto want = test::read_metrics(folder / "cpu"), got = test::read_metrics(folder / "cuda");
  ASSERT_EQ(want.size(), 5U);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross", "grad_norm"})
      EXPECT_TRUE(std::abs(got[i].at(key) - want[i].at(key)) <= 1e-3 * std::abs(want[i].at(key)))
          << "step " << i + 1 << " " << key << ": " << got[i].at(key) << " against " << want[i].at(key);
  const std::string step = "/checkpoints/step-00000005";
  EXPECT_TRUE(test::relative_distance(test::read_weights(folder / ("cuda" + step)),
                                      test::read_weights(folder / ("cpu" + step))) <= 1e-3);

  // one checkpoint, embedded on both
  for (const std::string device : {"cpu", "cuda"})
    ASSERT_EQ(
        cli::run_embed(*world, words("--checkpoint " + (folder / "cpu") + " --pack " + test::made_data().held_out_pack +
                                     " --output " + folder / (device + ".h5ad") + " --device " + device)),
        exit_ok);
  for (const char* key : {"X_spotniche", "X_spotniche_niche", "X_spot_image", "X_niche_gene"}) {
    const auto a = data::read_h5ad_embeddings(folder / "cpu.h5ad", key),
               b = data::read_h5ad_embeddings(folder / "cuda.h5ad", key);
    ASSERT_EQ(a.values.size(), b.values.size());
    ASSERT_GT(a.values.size(), 0U);
    for (std::size_t i = 0; i < a.values.size(); ++i)
      ASSERT_TRUE(std::abs(b.values[i] - a.values[i]) <= 1e-5F) << key << " " << i;
  }
}

}  // namespace
}  // namespace spn
