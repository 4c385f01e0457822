// uint8 images to normalised floats with seeded augmentation, in one kernel.
#include "kernels/cuda/device/image.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

bool aligned(const View& v) { return reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0; }

template <class T>
void embed(const ImageEmbed& o) {
  const std::int64_t images = o.x.dim(0), height = o.x.dim(1), width = o.x.dim(2);
  const std::int64_t down = (height + kTileSide - 1) / kTileSide, across = (width + kTileSide - 1) / kTileSide;
  ImageGeometry g{.images = images,
                  .height = height,
                  .width = width,
                  .tiles_down = down,
                  .tiles_across = across,
                  .packs_in = width % 16 == 0 && aligned(o.x),
                  .packs_out = width % Pack<T>::n == 0 && aligned(o.y),
                  .mean = {},
                  .std = {}};
  for (int c = 0; c < 3; ++c) {
    g.mean[c] = static_cast<float>(kImageMean[c]);
    g.std[c] = static_cast<float>(kImageStd[c]);
  }
  const dim3 grid = grid_for(images * down * across, 1);
  T* y = o.y.ptr<T>();
  const auto* x = o.x.ptr<std::uint8_t>();
  if (o.augment.stain_jitter > 0)
    launch(image_embed_tiles<T, true>, grid, dim3(kImageThreads), 0, stream(), y, x, g, o.augment);
  else
    launch(image_embed_tiles<T, false>, grid, dim3(kImageThreads), 0, stream(), y, x, g, o.augment);
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
