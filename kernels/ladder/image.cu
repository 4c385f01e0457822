// The rungs below image_embed's run of bytes: one by one, then 16 bytes of the result a thread, but one load at a time.
// Augmented: a block for each tile, which draws for it alone and has no next one to load meanwhile.
#include "kernels/cuda/device/image.h"
#include "kernels/cuda/launch.h"
#include "kernels/ladder/image.h"
#include "kernels/ladder/ladder.h"

namespace spn::kernels {
namespace {

using namespace cuda;

__global__ void byte_a_thread(bf16* y, const std::uint8_t* x, ImageNormal normal, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const ChannelNormal c = normal_of(normal, static_cast<int>(i % 3));
    y[i] = convert<bf16>((static_cast<float>(x[i]) / 255.0F - c.mean) / c.std);
  }
}

void one_by_one(Views v) {
  launch(byte_a_thread, grid_for(v[0].numel()), dim3(kBlock), 0, stream(), v[1].ptr<bf16>(), v[0].ptr<std::uint8_t>(),
         image_normal(), v[0].numel());
}

void one_load(Views v) {
  constexpr int kPack = Pack<bf16>::n;
  const std::int64_t n = v[0].numel(), of_block = kFlatThreads * kPack;
  launch(image_embed_flat<bf16, kPack, 1>, dim3(static_cast<unsigned>((n + of_block - 1) / of_block)),
         dim3(kFlatThreads), 0, stream(), v[1].ptr<bf16>(), v[0].ptr<std::uint8_t>(), n, image_normal());
}

void tile_a_block(Views v) {
  const auto images = static_cast<int>(v[0].dim(0)), side = static_cast<int>(v[0].dim(1));
  const int tiles = (side + kTileSide - 1) / kTileSide;
  const ImageTiles g{.images = images,
                     .height = side,
                     .width = side,
                     .down = tiles,
                     .across = tiles,
                     .share = 1,
                     .packs = side % 8 == 0,
                     .normal = image_normal()};
  launch(image_embed_tiles<bf16, true>, dim3(static_cast<unsigned>(images * tiles * tiles)), dim3(kImageTileThreads), 0,
         stream(), v[1].ptr<bf16>(), v[0].ptr<std::uint8_t>(), g, kImageAugmentation);
}

}  // namespace

std::span<const Rung> image_embed_rungs() {
  static const Rung rungs[] = {{"a byte a thread", one_by_one}, {"8 bytes a thread", one_load}};
  return rungs;
}
std::span<const Rung> image_augment_rungs() {
  static const Rung rungs[] = {{"a tile a block", tile_a_block}};
  return rungs;
}

}  // namespace spn::kernels
