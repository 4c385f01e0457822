// The rung below image_embed's tiles: bytes as they come, which is all that images without augmentation need.
#include "kernels/cuda/device/base.h"
#include "kernels/cuda/launch.h"
#include "kernels/ladder/ladder.h"
#include "kernels/math/augment.h"

namespace spn::kernels {
namespace {

using namespace cuda;

struct Channels {
  float mean[3], std[3];
};

__global__ void byte_a_thread(bf16* y, const std::uint8_t* x, Channels c, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads())
    y[i] = convert<bf16>((static_cast<float>(x[i]) / 255.0F - c.mean[i % 3]) / c.std[i % 3]);
}

void one_by_one(Views v) {
  Channels c{};
  for (int k = 0; k < 3; ++k) {
    c.mean[k] = static_cast<float>(kImageMean[k]);
    c.std[k] = static_cast<float>(kImageStd[k]);
  }
  launch(byte_a_thread, grid_for(v[0].numel()), dim3(kBlock), 0, stream(), v[1].ptr<bf16>(), v[0].ptr<std::uint8_t>(),
         c, v[0].numel());
}

}  // namespace

std::span<const Rung> image_embed_rungs() {
  static const Rung rungs[] = {{"a byte a thread", one_by_one}};
  return rungs;
}

}  // namespace spn::kernels
