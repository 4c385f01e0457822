// Commands with --device cuda, in this process: a run's losses and embeddings beside those of --device cpu.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
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

class CudaCommands : public test::Twin {
 protected:
  // Trains on the one pack and embeds the other, on the CPU and on the device; both tell the same.
  static void as_on_the_cpu(const std::string& train_pack, const std::string& held_out_pack);
};

void CudaCommands::as_on_the_cpu(const std::string& train_pack, const std::string& held_out_pack) {
  const test::TempFolder folder;
  const auto world = dist::make_self();
  for (const std::string device : {"cpu", "cuda"}) {
    const std::string run = folder / device;
    ASSERT_EQ(
        cli::run_pretrain(
            *world, words("--pack " + train_pack + " --output " + run + " --global-batch 8 --steps 5 --residency " +
                          (device == "cuda" ? "gpu" : "disk") + test::kSmallModel + " --device " + device)),
        exit_ok);
  }
  const auto want = test::read_metrics(folder / "cpu"), got = test::read_metrics(folder / "cuda");
  ASSERT_EQ(want.size(), 5U);
  ASSERT_EQ(got.size(), want.size());
  const double bound = test::device_orders() > 1 ? 1e-4 : 1e-3;  // the emulator's products are the CPU's
  for (std::size_t i = 0; i < want.size(); ++i)
    for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross", "grad_norm"})
      EXPECT_TRUE(std::abs(got[i].at(key) - want[i].at(key)) <= bound * std::abs(want[i].at(key)))
          << "step " << i + 1 << " " << key << ": " << got[i].at(key) << " against " << want[i].at(key);
  const std::string step = "/checkpoints/step-00000005";
  EXPECT_TRUE(test::relative_distance(test::read_weights(folder / ("cuda" + step)),
                                      test::read_weights(folder / ("cpu" + step))) <= bound);

  // one checkpoint, embedded on both
  for (const std::string device : {"cpu", "cuda"})
    ASSERT_EQ(cli::run_embed(*world, words("--checkpoint " + (folder / "cpu") + " --pack " + held_out_pack +
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

TEST_F(CudaCommands, PretrainAndEmbedAsOnTheCpu) {
  as_on_the_cpu(test::made_data().train_pack, test::made_data().held_out_pack);
}

// Real tissue, as many of its spots as the emulator takes in seconds; all of them on a GPU.
TEST_F(CudaCommands, PretrainAndEmbedRealSlidesAsOnTheCpu) {
  const char* slides = std::getenv("SPN_REAL_SLIDES");
  if (slides == nullptr) GTEST_SKIP() << "SPN_REAL_SLIDES is not set: nothing was trained on a real slide";
  namespace fs = std::filesystem;
  const fs::path real = fs::path(slides) / "ST";
  std::vector<std::string> names;
  const std::string suffix = "_coord.csv";
  if (fs::is_directory(real / "coord"))
    for (const auto& entry : fs::directory_iterator(real / "coord"))
      if (const std::string file = entry.path().filename().string(); file.ends_with(suffix))
        names.push_back(file.substr(0, file.size() - suffix.size()));
  if (names.size() < 2) GTEST_SKIP() << real << " holds fewer than two slides: nothing was trained on a real slide";
  std::sort(names.begin(), names.end());
  const test::TempFolder folder;
  const fs::path made = fs::path(folder.path()) / "ST";
  fs::create_directories(made / "coord");
  for (const char* same : {"image", "gene_exp"}) fs::create_directory_symlink(real / same, made / same);
  std::vector<std::string> packs;
  const auto world = dist::make_self();
  for (const std::string& name : {names.front(), names.back()}) {
    std::ifstream in(real / "coord" / (name + "_coord.csv"));
    std::ofstream out(made / "coord" / (name + "_coord.csv"));
    const int rows = test::device_orders() > 1 ? 24 : 100000;
    std::string line;
    for (int row = 0; row <= rows && std::getline(in, line); ++row) out << line << '\n';
    out.close();
    packs.push_back(folder / (name + ".h5"));
    const std::string genes = packs.size() == 1 ? "--gene-count 64" : "--gene-list " + packs[0];
    ASSERT_EQ(cli::run_prepare(*world, words(genes + " --spot-image-px 16 --niche-image-px 32 --input " +
                                             folder.path() + " --slides " + name + " --output " + packs.back())),
              exit_ok);
  }
  as_on_the_cpu(packs[0], packs[1]);
}

}  // namespace
}  // namespace spn
