// uint8 images to normalised floats with seeded augmentation, in one kernel.
#include "kernels/cuda/device/image.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

bool aligned(const View& v, std::uintptr_t bytes) { return reinterpret_cast<std::uintptr_t>(v.data) % bytes == 0; }

template <class T, int V>
void flat(const ImageEmbed& o) {
  const std::int64_t n = o.x.numel(), of_block = kFlatThreads * kFlatLoads * V;
  launch(image_embed_flat<T, V>, dim3(static_cast<unsigned>((n + of_block - 1) / of_block)), dim3(kFlatThreads), 0,
         stream(), o.y.ptr<T>(), o.x.ptr<std::uint8_t>(), n, image_normal());
}

template <class T, bool stained>
void tiles(const ImageEmbed& o) {
  const std::int64_t images = o.x.dim(0), height = o.x.dim(1), width = o.x.dim(2);
  const std::int64_t down = (height + kTileSide - 1) / kTileSide, across = (width + kTileSide - 1) / kTileSide;
  const std::int64_t count = images * down * across, most = grid_for(count, 1, kImageTileBlocks<T>).x;
  const std::int64_t share = (count + most - 1) / most;
  constexpr std::int64_t kLargest = std::int64_t{1} << 30;  // tiles are counted and images measured in 32 bits
  check(count < kLargest && height * width * 3 < kLargest, "image_embed", "expected images under 1 GiB, got {}",
        o.x.shape.str());
  const ImageTiles g{.images = static_cast<int>(images),
                     .height = static_cast<int>(height),
                     .width = static_cast<int>(width),
                     .down = static_cast<int>(down),
                     .across = static_cast<int>(across),
                     .share = static_cast<int>(share),
                     .packs = width % 8 == 0 && aligned(o.x, 4) && aligned(o.y, 16),
                     .normal = image_normal()};
  launch(image_embed_tiles<T, stained>, dim3(static_cast<unsigned>((count + share - 1) / share)),
         dim3(kImageTileThreads), 0, stream(), o.y.ptr<T>(), o.x.ptr<std::uint8_t>(), g, o.augment);
}

template <class T>
void embed(const ImageEmbed& o) {
  constexpr int kPack = Pack<T>::n;
  if (o.augment.stain_jitter > 0) return tiles<T, true>(o);
  if (o.augment.dihedral) return tiles<T, false>(o);
  if (aligned(o.x, kPack) && aligned(o.y, 16)) return flat<T, kPack>(o);
  return flat<T, 1>(o);
}

}  // namespace

void image_embed(const ImageEmbed& o) {
  check(o.x.ndim() == 4 && o.x.dim(3) == 3 && o.x.is_contiguous() && o.y.is_channels_last() &&
            o.y.shape == Shape{o.x.dim(0), 3, o.x.dim(1), o.x.dim(2)},
        "image_embed", "expected contiguous u8 [B,S,S,3] to channels-last [B,3,S,S], got {} to {}", o.x.shape.str(),
        o.y.shape.str());
  check(!o.augment.dihedral || o.x.dim(1) == o.x.dim(2), "image_embed", "expected square images to turn, got {}",
        o.x.shape.str());
  if (o.x.numel() == 0) return;
  visit_float(o.y.dtype, "image_embed", [&](auto e) { embed<decltype(e)>(o); });
}

}  // namespace spn::kernels::cuda
