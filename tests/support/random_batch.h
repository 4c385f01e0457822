// Batches of random numbers for a model.
#pragma once

#include "engine/models/config.h"
#include "engine/train/batch.h"
#include "tests/support/tensors.h"

namespace spn::test {

// The batch of that step on one rank: two slides, clusters -1 (unknown), 0 and 1, spots within 100 µm.
inline train::Batch random_batch(const models::Config& c, std::int64_t rows, std::int64_t step) {
  const auto seed = static_cast<std::uint64_t>(100 * step);
  const auto image = [&](std::int64_t px, std::uint64_t s) {
    return random({rows, px, px, 3}, s, DType::f32, 0, 255).to(DType::u8);
  };
  train::Batch b;
  b.step = step;
  b.first_sample = rows * step;
  b.spot_image = image(c.spot_image_px, seed + 1);
  b.niche_image = image(c.niche_image_px, seed + 2);
  b.spot_gene = random({rows, c.spot_gene_width}, seed + 3, DType::f32, 0, 1);
  b.niche_gene = random({rows, c.genes}, seed + 4, DType::f32, 0, 1);
  b.xy_um = random({rows, 2}, seed + 5, DType::f32, 0, 100);
  std::vector<std::int32_t> slide, cluster;
  for (std::int64_t i = 0; i < rows; ++i) {
    slide.push_back(static_cast<std::int32_t>(i % 2));
    cluster.push_back(static_cast<std::int32_t>(i % 3) - 1);
  }
  b.slide = Tensor::from(slide, {rows});
  b.cluster = Tensor::from(cluster, {rows});
  return b;
}

}  // namespace spn::test
