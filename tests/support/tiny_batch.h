// configs/model/tiny.cfg and batches of random numbers for it.
#pragma once

#include "engine/train/batch.h"
#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace spn::test {

inline constexpr std::int64_t kBatch = 6;

inline models::Config tiny() {
  models::Config c = read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg");
  c.dropout = 0.1;
  c.vit_frozen = true;
  return c;
}

inline train::Batch make_batch(const models::Config& c, std::int64_t step) {
  const auto seed = static_cast<std::uint64_t>(100 * step);
  train::Batch b;
  b.step = step;
  b.first_sample = kBatch * step;
  const auto image = [&](std::int64_t px, std::uint64_t s) {
    return random({kBatch, px, px, 3}, s, DType::f32, 0, 255).to(DType::u8);
  };
  b.spot_image = image(c.spot_image_px, seed + 1);
  b.niche_image = image(c.niche_image_px, seed + 2);
  b.spot_gene = random({kBatch, c.spot_gene_width}, seed + 3, DType::f32, 0, 2);
  b.niche_gene = random({kBatch, c.genes}, seed + 4, DType::f32, 0, 2);
  b.slide = Tensor::zeros({kBatch}, DType::i32);
  b.cluster = Tensor::zeros({kBatch}, DType::i32);
  b.xy_um = Tensor::zeros({kBatch, 2});
  return b;
}

}  // namespace spn::test
