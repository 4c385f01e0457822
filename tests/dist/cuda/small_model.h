// A narrow ST-Align and global batches for it, of which every rank takes its part.
#pragma once

#include <string>
#include <vector>

#include "engine/core/philox.h"
#include "engine/train/batch.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"

namespace spn::test {

inline constexpr Device kGpu{DeviceType::cuda, 0};
inline constexpr std::int64_t kGlobal = 8;  // rows, over all ranks

inline models::Config small_config() {
  models::Config c = read_model_config(std::string(SPN_SOURCE_DIR) + "/tests/golden/st_align_small.cfg");
  // of everything one: an emulated step takes as long as it has launches
  c.resnet_depths = "1,1";
  c.spot_image_px = 9;
  c.niche_image_px = 16;
  c.vit_depth = 1;
  c.niche_gene_blocks = 1;
  c.dropout = 0.1;
  c.learnable_temperature = true;
  return c;
}

// The same on every rank.
inline train::Batch global_batch(const models::Config& c, std::int64_t step) {
  PhiloxStream rng(7, RandomUse::test, static_cast<std::uint64_t>(step));
  const auto pixels = [&](std::int64_t px) {
    std::vector<std::uint8_t> v(static_cast<std::size_t>(kGlobal * px * px * 3));
    for (auto& e : v) e = static_cast<std::uint8_t>(rng.next_u32());
    return Tensor::from(v, {kGlobal, px, px, 3});
  };
  const auto numbers = [&](std::int64_t n, float most) {
    std::vector<float> v(static_cast<std::size_t>(kGlobal * n));
    for (auto& e : v) e = most * rng.uniform();
    return Tensor::from(v, {kGlobal, n});
  };
  train::Batch b;
  b.step = step;
  b.spot_image = pixels(c.spot_image_px);
  b.niche_image = pixels(c.niche_image_px);
  b.spot_gene = numbers(c.spot_gene_width, 1);
  b.niche_gene = numbers(c.genes, 1);
  b.xy_um = numbers(2, 100);
  std::vector<std::int32_t> slide, cluster;
  for (std::int64_t i = 0; i < kGlobal; ++i) {
    slide.push_back(static_cast<std::int32_t>(i * 3 % 2));
    cluster.push_back(static_cast<std::int32_t>(i % 3) - 1);
  }
  b.slide = Tensor::from(slide, {kGlobal});
  b.cluster = Tensor::from(cluster, {kGlobal});
  return b;
}

// Rank r's contiguous part of it.
inline train::Batch part_of(const train::Batch& whole, int rank, int ranks) {
  train::Batch b = whole;
  const std::int64_t rows = kGlobal / ranks;
  for (Tensor train::Batch::*const t :
       {&train::Batch::spot_image, &train::Batch::niche_image, &train::Batch::spot_gene, &train::Batch::niche_gene,
        &train::Batch::slide, &train::Batch::cluster, &train::Batch::xy_um})
    b.*t = (whole.*t).narrow(0, rank * rows, rows);
  b.first_sample = rank * rows;
  return b;
}

}  // namespace spn::test
