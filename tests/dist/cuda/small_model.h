// A narrow ST-Align and global batches for it, of which every rank takes its part.
#pragma once

#include <string>

#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/random_batch.h"

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

// The same on every rank; first_sample says of which rows a rank's part is.
inline train::Batch global_batch(const models::Config& c, std::int64_t step) { return random_batch(c, kGlobal, step); }

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
