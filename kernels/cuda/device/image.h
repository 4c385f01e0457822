// uint8 images to normalised channels-last floats: turned, stained and normalised a tile at a time in shared memory, so
// that global memory is read and written in runs whatever the turn.
#pragma once

#include "kernels/cuda/device/base.h"
#include "kernels/math/augment.h"

namespace spn::kernels::cuda {

inline constexpr int kTileSide = 32, kImageThreads = 256;
// Bytes of a tile's row in shared memory: 16 more than it needs, so that reading down a column meets fewer banks twice.
inline constexpr int kTileRow = 3 * kTileSide + 16;

struct ImageGeometry {
  std::int64_t images, height, width, tiles_down, tiles_across;
  bool packs_in, packs_out;  // rows of tiles begin at 16 bytes in x, in y
  float mean[3], std[3];
};

// What a block keeps of a sample's draw in shared memory.
struct DrawnAugment {
  int turn;
  float mix[3][3], shift[3];
};

// (v/255 − mean)/std; in bf16 one multiply-add suffices.
template <class T>
__device__ inline float normalised_byte(std::uint8_t v, float mean, float std) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<float>(v) * (1.0F / (255.0F * std)) - mean / std;
  else
    return (static_cast<float>(v) / 255.0F - mean) / std;
}

// The device's exp and log units: 2e-6 of error where an optical density has 8 bits.
__device__ inline float density_of(std::uint8_t v) {
#ifdef __CUDA_ARCH__
  return -__logf((static_cast<float>(v) + 1.0F) * (1.0F / 256.0F));
#else
  return optical_density(v);
#endif
}
__device__ inline float restained(float density, float mean, float std) {
  const float bounded = density < -1.0F ? -1.0F : density > 20.0F ? 20.0F : density;  // beyond: white, black
#ifdef __CUDA_ARCH__
  float v = (256.0F * __expf(-bounded) - 1.0F) * (1.0F / 255.0F);
#else
  float v = (256.0F * std::exp(-bounded) - 1.0F) * (1.0F / 255.0F);
#endif
  v = v < 0.0F ? 0.0F : v > 1.0F ? 1.0F : v;
  return (v - mean) * (1.0F / std);
}

template <class T, bool stained>
__global__ void image_embed_tiles(T* y, const std::uint8_t* x, ImageGeometry g, ImageAugment augment) {
  using Bytes = Pack<std::uint8_t>;
  constexpr int kPack = Pack<T>::n, kRowBytes = 3 * kTileSide;
  SPN_SHARED(Bytes, in_packs, kTileSide * kTileRow / 16);
  SPN_SHARED(Pack<T>, out_packs, kTileSide * kRowBytes / kPack);
  SPN_SHARED(DrawnAugment, drawn, kWarp);
  auto* const in = reinterpret_cast<std::uint8_t*>(in_packs);
  T* const out = reinterpret_cast<T*>(out_packs);

  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t per_image = g.tiles_down * g.tiles_across, tiles = g.images * per_image;
  const std::int64_t begin = tiles * blockIdx.x / gridDim.x, end = tiles * (blockIdx.x + 1) / gridDim.x;
  const bool drawing = augment.dihedral || stained;
  std::int64_t drawn_from = -kWarp;
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const std::int64_t image = tile / per_image;
    if (drawing && image >= drawn_from + kWarp) {  // for this and the next images of the block: a draw takes long
      drawn_from = image;
      if (t < kWarp && image + t < g.images) {
        const SampleAugment a = draw_augment(augment, image + t);
        DrawnAugment& d = drawn[t];
        d.turn = a.turn;
        for (int c = 0; c < 3; ++c) {
          d.shift[c] = a.shift[c];
          for (int k = 0; k < 3; ++k) d.mix[c][k] = a.mix[c][k];
        }
      }
      __syncthreads();
    }
    const DrawnAugment* const d = drawn + (image - drawn_from);
    const int turn = drawing ? d->turn : 0;

    // The tile of y, and the one of x that it comes from.
    const std::int64_t i0 = tile % per_image / g.tiles_across * kTileSide, j0 = tile % g.tiles_across * kTileSide;
    const int h = static_cast<int>(g.height - i0 < kTileSide ? g.height - i0 : kTileSide);
    const int w = static_cast<int>(g.width - j0 < kTileSide ? g.width - j0 : kTileSide);
    std::int64_t r0 = i0, c0 = j0, r1 = i0 + h - 1, c1 = j0 + w - 1;
    if (turn != 0) {
      std::int64_t r, c, r_last, c_last;
      turned(turn, g.width, i0, j0, r, c);
      turned(turn, g.width, i0 + h - 1, j0 + w - 1, r_last, c_last);
      r0 = r < r_last ? r : r_last;
      r1 = r < r_last ? r_last : r;
      c0 = c < c_last ? c : c_last;
      c1 = c < c_last ? c_last : c;
    }
    const int from_rows = static_cast<int>(r1 - r0) + 1, from_bytes = 3 * (static_cast<int>(c1 - c0) + 1);
    const std::uint8_t* from = x + ((image * g.height + r0) * g.width + c0) * 3;
    if (g.packs_in) {
      const int packs = from_bytes / 16;
      for (int k = t; k < from_rows * packs; k += kImageThreads)
        in_packs[k / packs * (kTileRow / 16) + k % packs] = load_pack(from + k / packs * g.width * 3 + k % packs * 16);
    } else {
      for (int k = t; k < from_rows * from_bytes; k += kImageThreads)
        in[k / from_bytes * kTileRow + k % from_bytes] = from[k / from_bytes * g.width * 3 + k % from_bytes];
    }
    __syncthreads();

    const int j = t % kTileSide;
    for (int i = t / kTileSide; i < h && j < w; i += kImageThreads / kTileSide) {
      std::int64_t r = i, c = j;
      if (turn != 0) {
        turned(turn, g.width, i0 + i, j0 + j, r, c);
        r -= r0;
        c -= c0;
      }
      const std::uint8_t* p = in + r * kTileRow + c * 3;
      T* const pixel = out + (i * w + j) * 3;
      if constexpr (stained) {
        const float od[3] = {density_of(p[0]), density_of(p[1]), density_of(p[2])};
        for (int to = 0; to < 3; ++to) {
          const float* m = d->mix[to];
          pixel[to] =
              convert<T>(restained(m[0] * od[0] + m[1] * od[1] + m[2] * od[2] + d->shift[to], g.mean[to], g.std[to]));
        }
      } else {
        for (int to = 0; to < 3; ++to) pixel[to] = convert<T>(normalised_byte<T>(p[to], g.mean[to], g.std[to]));
      }
    }
    __syncthreads();  // and the next tile's first barrier keeps `out` until all have read it

    T* to = y + ((image * g.height + i0) * g.width + j0) * 3;
    const int row = 3 * w;
    if (g.packs_out) {
      const int packs = row / kPack;
      for (int k = t; k < h * packs; k += kImageThreads)
        store_pack(to + k / packs * g.width * 3 + k % packs * kPack, out_packs[k]);
    } else {
      for (int k = t; k < h * row; k += kImageThreads) to[k / row * g.width * 3 + k % row] = out[k];
    }
  }
}

}  // namespace spn::kernels::cuda
