// configs/model/tiny.cfg, and how many rows its batches have.
#pragma once

#include "tests/support/model_config.h"
#include "tests/support/paths.h"
#include "tests/support/random_batch.h"

namespace spn::test {

inline constexpr std::int64_t kBatch = 6;

inline models::Config tiny() {
  models::Config c = read_model_config(std::string(SPN_SOURCE_DIR) + "/configs/model/tiny.cfg");
  c.dropout = 0.1;
  c.vit_frozen = true;
  return c;
}

}  // namespace spn::test
