// --residency gpu on several ranks, each with an emulated device: rows that are shared out over the ranks' memory make
// the batches that the pack on disk makes, and whole runs on devices are those of one rank.
#include "launch/cli/resident.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <map>
#include <sstream>
#include <utility>

#include "launch/cli/batches.h"
#include "launch/cli/command.h"
#include "tests/support/cli_run.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/nccl.h"
#include "tests/support/errors.h"
#include "tests/support/made_pack.h"
#include "tests/support/world.h"

namespace spn::cli {
namespace {

using test::world;
constexpr Device kGpu{DeviceType::cuda, 0};

// Two packs of slides of odd sizes: 29 rows, which no number of ranks divides.
struct Packs {
  test::TempFolder folder{world()};
  std::vector<std::string> paths{folder / "a.h5", folder / "b.h5"};
  data::PackHeader header;
  std::int64_t rows = 0;
  explicit Packs(int px = 0) {
    for (std::size_t i = 0; i < 2; ++i) {
      auto plan = i == 0 ? test::plan_pack({13, 5}) : test::plan_pack({11});
      for (auto& slide : plan.slides) slide.name += i == 0 ? "a" : "b";
      if (px > 0) {  // sizes that the small model takes
        plan.header.spot_px = plan.header.niche_px = px;
        plan.header.niche_genes = 12;
        plan.genes.emplace_back("GENE11");
      }
      header = plan.header;
      rows += header.spots;
      test::write_pack(world(), paths[i], plan);
    }
    world().barrier();
  }
};

void expect_batch(const train::Batch& got, const train::Batch& want) {
  EXPECT_EQ(got.step, want.step);
  EXPECT_EQ(got.epoch, want.epoch);
  EXPECT_EQ(got.first_sample, want.first_sample);
  const std::pair<const char*, Tensor train::Batch::*> tensors[] = {{"spot_image", &train::Batch::spot_image},
                                                                    {"niche_image", &train::Batch::niche_image},
                                                                    {"spot_gene", &train::Batch::spot_gene},
                                                                    {"niche_gene", &train::Batch::niche_gene},
                                                                    {"slide", &train::Batch::slide},
                                                                    {"cluster", &train::Batch::cluster},
                                                                    {"xy_um", &train::Batch::xy_um}};
  for (const auto& [name, t] : tensors) {
    EXPECT_EQ((got.*t).device().type, DeviceType::cuda) << name;
    EXPECT_EQ((got.*t).dtype(), (want.*t).dtype()) << name;
    EXPECT_EQ((got.*t).shape(), (want.*t).shape()) << name;
    EXPECT_EQ((got.*t).to_vector<double>(), (want.*t).to_vector<double>()) << name;
  }
}

TEST(ResidentOnDevices, BatchesAreThoseOfThePacksOnDisk) {
  const Packs made;
  const data::PackSet packs(made.paths);
  const data::Sampler sampler(packs.rows(), 8, 3);
  const auto nccl = dist::make_nccl(world(), nullptr, {});
  const int rank = nccl->rank(), ranks = nccl->size();
  constexpr std::int64_t kFirst = 1, kEnd = 8;  // of three epochs, and as a run is resumed
  const auto resident = [&](std::int64_t limit) {
    return std::make_unique<ResidentSource>(packs, sampler, kFirst, kEnd, *nccl, kGpu, limit);
  };
  const std::int64_t row = resident(1 << 30)->bytes() / packs.rows(), share = (packs.rows() + ranks - 1) / ranks + 1;
  for (const std::int64_t held : {packs.rows(), share}) {
    SCOPED_TRACE(held);
    LoaderSource disk(packs, sampler, kFirst, kEnd, rank, ranks, 2, 1);
    const auto source = resident(held * row);
    EXPECT_EQ(source->bytes(), held * row);
    const std::int64_t before = emulator::comm_counts().collectives;
    for (std::int64_t s = kFirst; s < kEnd; ++s) {
      SCOPED_TRACE(s);
      expect_batch(source->next(), disk.next());
    }
    EXPECT_EQ(emulator::comm_counts().collectives - before, held == share ? 7 * (kEnd - kFirst) : 0);
  }
  EXPECT_PRED2(test::has, test::error_of(ErrorKind::usage, [&] { resident(share * row - 1); }), "use more GPUs");
}

// What a run left in its folder.
struct Left {
  std::vector<test::MetricsLine> metrics;
  std::map<std::string, Tensor> weights;
  std::int64_t waits = 0;
};

Left pretrain(dist::Comm& comm, const Packs& packs, const std::string& folder, int steps, const std::string& more) {
  std::istringstream line(
      "--pack " + packs.paths[0] + " --pack " + packs.paths[1] + " --output " + folder +
      " --global-batch 8 --base-lr 0.003 --warmup-steps 0 --warmup-epochs 0 --device cuda --steps " +
      std::to_string(steps) + test::kSmallModel + more);
  const std::int64_t before = emulator::host_waits();
  EXPECT_EQ(run_pretrain(comm, {std::istream_iterator<std::string>(line), {}}), exit_ok);
  const std::int64_t waits = emulator::host_waits() - before;
  comm.barrier();
  return {test::read_metrics(folder), test::read_weights(test::checkpoint(folder, steps)), waits};
}

// As a user starts it: the command finds its device and its communicator, and captures its steps. Bounds: those of
// docs/numerics.md for the number of ranks.
TEST(ResidentOnDevices, RunsAreThoseOfOneRankAndOfRowsOnDisk) {
  const Packs packs(8);
  const data::PackHeader& h = packs.header;
  const std::int64_t row = 2 * 3 * 8 * 8 + 4 * (h.spot_genes + h.niche_genes) + 4 + 4 + 8;  // images, genes, facts
  const std::string shared_out =
      fmt::format(" --residency gpu --residency-gib {:.12f}", 0.8 * static_cast<double>(packs.rows * row) / (1 << 30));
  const test::TempFolder own;
  const Left one = pretrain(*dist::make_self(), packs, own / "run", 5, " --residency disk"),
             disk = pretrain(world(), packs, packs.folder / "disk", 5, " --residency disk");
  const std::int64_t recorded = emulator::comm_counts().recorded;
  const Left gpu = pretrain(world(), packs, packs.folder / "gpu", 5, shared_out),
             shorter = pretrain(world(), packs, packs.folder / "shorter", 3, shared_out);
  EXPECT_GT(emulator::comm_counts().recorded, recorded);
  EXPECT_EQ(gpu.waits - shorter.waits, 2);  // one a step, wherever its rows come from
  ASSERT_EQ(one.metrics.size(), 5U);
  ASSERT_EQ(disk.metrics.size(), 5U);
  ASSERT_EQ(gpu.metrics.size(), 5U);
  for (std::size_t s = 0; s < 5; ++s)
    for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross"}) {
      const double want = one.metrics[s].at(key), got = disk.metrics[s].at(key);
      EXPECT_EQ(gpu.metrics[s].at(key), got) << "step " << s + 1 << " " << key;
      EXPECT_TRUE(std::abs(got - want) <= 1e-4 * want) << "step " << s + 1 << " " << key << ": " << got << ", " << want;
    }
  EXPECT_EQ(test::relative_distance(gpu.weights, disk.weights), 0);
  EXPECT_TRUE(test::relative_distance(disk.weights, one.weights) <= 1e-3);
}

}  // namespace
}  // namespace spn::cli
