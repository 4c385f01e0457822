// What `encode` does for each encoder. Collective; both return an exit status.
#pragma once

#include <string>

#include "engine/dist/comm.h"
#include "engine/models/config.h"
#include "launch/cli/precision.h"

namespace spn::cli {

struct EncodeImages {
  std::string weights;  // safetensors, a checkpoint, export or import folder, or "random"
  models::Config model;
  bool any_px = false;      // the image's side is the pack's: nobody said another
  std::uint64_t seed = 42;  // of random weights
  std::int64_t batch = 32;
  Precision precision;
  Device device;
  bool half = false, overwrite = false;
};
int encode_images(dist::Comm& world, const std::string& pack, const EncodeImages& o);

struct EncodeGenes {
  std::string embeddings, key, names;
  bool zero_missing = false, half = false, overwrite = false;
};
int encode_genes(dist::Comm& world, const std::string& pack, const EncodeGenes& o);

}  // namespace spn::cli
