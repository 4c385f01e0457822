// uint8 images to normalised channels-last floats. Not augmented they are one run of bytes; else they are turned,
// stained and normalised a tile at a time, so that global memory is read and written in runs whatever the turn.
#pragma once

#include "kernels/cuda/device/base.h"
#include "kernels/cuda/device/fragments.h"
#include "kernels/cuda/device/rows.h"
#include "kernels/math/augment.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cuda {

// A multiple of 3, so that a thread meets the same channels in each of its loads.
inline constexpr int kFlatThreads = 192, kFlatLoads = 4;

// Two warps work on a tile, eight pixels of a row of y a lane at a time: with more warps, what a tile costs beside its
// pixels is spread over fewer of them. Pixels are words in shared memory, rows one word longer than there are banks:
// along rows, down columns and four pixels a lane, no bank is met twice.
inline constexpr int kTileSide = 32, kTileRow = kTileSide + 1, kImageTileThreads = 64, kTileRun = 8;
template <class T>
inline constexpr int kImageTileBlocks = sizeof(T) > 4 ? 4
                                                      : 12;  // on a multiprocessor, and the grid is what runs at once
inline constexpr int kDraws = 16;                            // that are made at once, a lane each

// (v/255 − mean)/std of a channel.
struct ChannelNormal {
  float mean, std, per_std, per_byte, black;  // the last three: 1/std, 1/(255 std), −mean/std
};
struct ImageNormal {
  ChannelNormal of[3];
};
inline ImageNormal image_normal() {
  ImageNormal n{};
  for (int c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(kImageMean[c]), std = static_cast<float>(kImageStd[c]);
    n.of[c] = {.mean = mean,
               .std = std,
               .per_std = 1.0F / std,
               .per_byte = static_cast<float>(1.0 / (255.0 * static_cast<double>(std))),
               .black = -mean / std};
  }
  return n;
}
// By comparisons: an index would put all of them into memory.
__device__ inline ChannelNormal normal_of(const ImageNormal& n, int channel) {
  return channel == 0 ? n.of[0] : channel == 1 ? n.of[1] : n.of[2];
}

struct ImageTiles {
  int images, height, width, down, across, share;  // tiles down and across an image; of a block, one after another
  bool packs;                                      // rows of tiles begin at 4 bytes in x and at 16 in y
  ImageNormal normal;
};

// a/b, correctly rounded where b and its rounded reciprocal are known (Markstein): no slow path to branch to.
__device__ inline float quotient(float a, float b, float per_b) {
  const float q = a * per_b;
  return std::fma(std::fma(-q, b, a), per_b, q);
}

// (v/255 − mean)/std, with the formula's bits; in bf16 one multiply-add suffices.
template <class T>
__device__ inline float normalised_byte(float v, const ChannelNormal& c) {
  if constexpr (std::is_same_v<T, bf16>)
    return std::fma(v, c.per_byte, c.black);
  else
    return quotient(quotient(v, 255.0F, 1.0F / 255.0F) - c.mean, c.std, c.per_std);
}

// 16 bytes of T from floats; bf16 in pairs.
template <class T>
__device__ inline Pack<T> pack_of(const float* e) {
  Pack<T> to;
  if constexpr (std::is_same_v<T, bf16>) {
    unsigned pairs[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) pairs[k] = pack_pair(e[2 * k], e[2 * k + 1]);
    memcpy(&to, pairs, sizeof to);
  } else {
#pragma unroll
    for (int k = 0; k < Pack<T>::n; ++k) to.v[k] = convert<T>(e[k]);
  }
  return to;
}

// V bytes of x as one number, the first lowest.
template <int V>
using Bytes = std::conditional_t<
    V == 8, std::uint64_t,
    std::conditional_t<V == 4, std::uint32_t, std::conditional_t<V == 2, std::uint16_t, std::uint8_t>>>;
// Byte k of them, plus more: as the low bits of a float of 2^23, by two instructions that leave the unit of
// conversions, exp and log alone.
__device__ inline float byte_of(std::uint64_t bytes, int k, float more = 0) {
#ifdef __CUDA_ARCH__
  const auto word = static_cast<unsigned>(bytes >> k / 4 * 32);
  return __uint_as_float(__byte_perm(word, 0x4B000000U, 0x7440U + static_cast<unsigned>(k % 4))) - (8388608.0F - more);
#else
  return static_cast<float>(bytes >> 8 * k & 255U) + more;
#endif
}

// n bytes of x to n values of y, V a load: as many as fill 16 bytes of y, both aligned, or 1. The grid covers all.
template <class T, int V, int loads = kFlatLoads>
__global__ void __launch_bounds__(kFlatThreads)
    image_embed_flat(T* y, const std::uint8_t* x, std::int64_t n, ImageNormal normal) {
  constexpr int kStep = kFlatThreads * V;
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * loads * kStep + t * V;
  Bytes<V> in[loads] = {};
#pragma unroll
  for (int q = 0; q < loads; ++q)
    if (first + q * kStep + V <= n) in[q] = *reinterpret_cast<const Bytes<V>*>(x + first + q * kStep);

  ChannelNormal c[3];
#pragma unroll
  for (int k = 0; k < 3; ++k) c[k] = normal_of(normal, (t * V + k) % 3);
#pragma unroll
  for (int q = 0; q < loads; ++q) {
    if (first + q * kStep + V > n) continue;
    float e[V];
#pragma unroll
    for (int k = 0; k < V; ++k) e[k] = normalised_byte<T>(byte_of(in[q], k), c[k % 3]);
    if constexpr (V == 1)
      y[first + q * kStep] = convert<T>(e[0]);
    else
      store_whole(y + first + q * kStep, pack_of<T>(e));
  }
  const std::int64_t last = n - n % V + t;  // what is left, less than a pack
  if (blockIdx.x == 0 && last < n)
    y[last] = convert<T>(normalised_byte<T>(byte_of(x[last], 0), normal_of(normal, static_cast<int>(last % 3))));
}

// What a block keeps of a sample's draw in shared memory.
struct alignas(16) DrawnAugment {
  float stain[3][4];  // log2(v' + 1) = stain · (log2(v + 1) of the three channels, 1)
  // The tile of y at (i, j) comes from that of x at (row + i · row_down + j · row_right, column + …) …
  int row, column, row_down, row_right, column_down, column_right;
  int first, down, right;  // … of which, in shared memory, it begins at this word, with these steps
};

__device__ inline DrawnAugment drawn_for(const ImageAugment& augment, std::int64_t image, int side) {
  const SampleAugment a = draw_augment(augment, image);
  DrawnAugment d;
#pragma unroll
  for (int to = 0; to < 3; ++to) {  // optical density is ln 256 − ln(v + 1)
    const float* m = a.mix[to];
    for (int k = 0; k < 3; ++k) d.stain[to][k] = m[k];
    d.stain[to][3] = 8.0F - 8.0F * (m[0] + m[1] + m[2]) - a.shift[to] * 1.44269504F;
  }
  std::int64_t row, column, row_below, column_below, row_beside, column_beside;
  turned(a.turn, side, 0, 0, row, column);
  turned(a.turn, side, 1, 0, row_below, column_below);
  turned(a.turn, side, 0, 1, row_beside, column_beside);
  d.row_down = static_cast<int>(row_below - row);
  d.row_right = static_cast<int>(row_beside - row);
  d.column_down = static_cast<int>(column_below - column);
  d.column_right = static_cast<int>(column_beside - column);
  const int last_row = d.row_down + d.row_right < 0 ? kTileSide - 1 : 0;  // of a tile, where rows are walked backwards
  const int last_column = d.column_down + d.column_right < 0 ? kTileSide - 1 : 0;
  d.row = static_cast<int>(row) - last_row;
  d.column = static_cast<int>(column) - last_column;
  d.first = last_row * kTileRow + last_column;
  d.down = d.row_down * kTileRow + d.column_down;
  d.right = d.row_right * kTileRow + d.column_right;
  return d;
}

// Four pixels of a row of an image, packed as in memory.
struct PixelQuad {
  unsigned w[3];
};
__device__ inline PixelQuad load_quad(const std::uint8_t* p) {
  const auto* const w = reinterpret_cast<const unsigned*>(p);
  return {{w[0], w[1], w[2]}};
}
// Those from (row, column) on, zeros beyond the image.
__device__ inline PixelQuad load_quad_bytes(const std::uint8_t* image, const ImageTiles& g, int row, int column) {
  PixelQuad v{};
  if (row < 0 || row >= g.height) return v;
  for (int b = 0; b < 12; ++b)
    if (column + b / 3 >= 0 && column + b / 3 < g.width)
      v.w[b / 4] |= static_cast<unsigned>(image[(row * g.width + column) * 3 + b]) << b % 4 * 8;
  return v;
}
__device__ inline void store_quad(unsigned* words, const PixelQuad& v) {  // the fourth byte of a word is any
  words[0] = v.w[0];
  words[1] = v.w[0] >> 24 | v.w[1] << 8;
  words[2] = v.w[1] >> 16 | v.w[2] << 16;
  words[3] = v.w[2] >> 8;
}

// log2 of v, at least 1; clamped to [0, 1].
__device__ inline float log2_of(float v) {
#ifdef __CUDA_ARCH__
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#else
  return std::log2(v);
#endif
}
__device__ inline float to_unit(float v) {
#ifdef __CUDA_ARCH__
  return __saturatef(v);
#else
  return v < 0.0F ? 0.0F : v > 1.0F ? 1.0F : v;
#endif
}

// One pixel, a byte a channel, to three values. The device's exp and log: 2e-6 of error where a density has 8 bits.
template <class T, bool stained>
__device__ inline void embed_pixel(unsigned pixel, const float (&stain)[3][4], const ImageNormal& normal, float* to) {
  float v[3];
#pragma unroll
  for (int c = 0; c < 3; ++c) v[c] = byte_of(pixel, c, stained ? 1.0F : 0.0F);
  if constexpr (stained) {
#pragma unroll
    for (int c = 0; c < 3; ++c) v[c] = log2_of(v[c]);
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const float* s = stain[c];
      const float light = brief_exp2(std::fma(s[0], v[0], std::fma(s[1], v[1], std::fma(s[2], v[2], s[3]))));
      to[c] =
          std::fma(to_unit(std::fma(light, 1.0F / 255.0F, -1.0F / 255.0F)), normal.of[c].per_std, normal.of[c].black);
    }
  } else {
#pragma unroll
    for (int c = 0; c < 3; ++c) to[c] = normalised_byte<T>(v[c], normal.of[c]);
  }
}

// Which tile of which image: counted on, not divided, from tile to tile.
struct TilePlace {
  int image, i, j;
  __device__ void step(const ImageTiles& g) {
    j += kTileSide;
    if (j < g.width) return;
    j = 0;
    i += kTileSide;
    if (i < g.height) return;
    i = 0;
    ++image;
  }
  // All of it lies in the image, and so does all of what it comes from.
  __device__ bool whole(const ImageTiles& g) const {
    return g.packs && i + kTileSide <= g.height && j + kTileSide <= g.width;
  }
};

template <class T, bool stained>
__global__ void __launch_bounds__(kImageTileThreads, kImageTileBlocks<T>)
    image_embed_tiles(T* y, const std::uint8_t* x, ImageTiles g, ImageAugment augment) {
  // Of a tile: 16 bytes a row of y, lanes a row, rows that are loaded and rows that are worked on at once.
  constexpr int kPacks = 3 * kTileSide / Pack<T>::n, kLanes = kTileSide / kTileRun, kLanePacks = kPacks / kLanes;
  constexpr int kLoaded = kImageTileThreads / (kTileSide / 4), kRunRows = kImageTileThreads / kLanes;
  SPN_SHARED(unsigned, words, 2 * kTileSide * kTileRow);
  SPN_SHARED(Pack<T>, turned_packs, kRunRows * kPacks);
  SPN_SHARED(DrawnAugment, drawn, 2 * kDraws);

  const unsigned t = threadIdx.x;
  const int lane = t % kWarp;
  const int quad_row = t / (kTileSide / 4), quad_column = t % (kTileSide / 4) * 4;
  const int run_row = t / kLanes, lane_in_row = t % kLanes, run_column = lane_in_row * kTileRun;
  const int per_image = g.down * g.across, image_bytes = g.height * g.width * 3;
  const int begin = static_cast<int>(blockIdx.x) * g.share, left = g.images * per_image - begin;
  const int end = begin + (left < g.share ? left : g.share), first_image = begin / per_image;
  const int last_image = (end - 1) / per_image;

  // A draw takes long: a warp's lanes draw for this and the next images, in turn into both halves of `drawn`.
  if constexpr (!stained) augment.stain_jitter = 0;  // known here, and not drawn
  const auto draw = [&](int image) {
    if (t < kDraws && image + lane <= last_image)
      drawn[static_cast<unsigned>(image - first_image + lane) % (2 * kDraws)] =
          drawn_for(augment, image + lane, g.width);
  };
  const auto draw_of = [&](int image) -> const DrawnAugment& {
    return drawn[static_cast<unsigned>(image - first_image) % (2 * kDraws)];
  };

  PixelQuad ahead[kTileSide / kLoaded];  // of the next tile
  const auto load_tile = [&](const TilePlace& at) {
    const DrawnAugment& d = draw_of(at.image);
    const int row = d.row + at.i * d.row_down + at.j * d.row_right + quad_row;
    const int column = d.column + at.i * d.column_down + at.j * d.column_right + quad_column;
    const std::uint8_t* const image = x + static_cast<std::int64_t>(at.image) * image_bytes;
    if (at.whole(g))
#pragma unroll
      for (int q = 0; q < kTileSide / kLoaded; ++q)
        ahead[q] = load_quad(image + ((row + q * kLoaded) * g.width + column) * 3);
    else
      for (int q = 0; q < kTileSide / kLoaded; ++q) ahead[q] = load_quad_bytes(image, g, row + q * kLoaded, column);
  };

  const int in_image = begin - first_image * per_image;
  TilePlace next{first_image, in_image / g.across * kTileSide, in_image % g.across * kTileSide}, at = next;
  for (int tile = begin - 1; tile < end; ++tile) {  // first the one before, of which there is nothing but the next
    const bool here = tile >= begin, more = tile + 1 < end;
    unsigned* const in = words + (tile & 1) * kTileSide * kTileRow;
    if (here)
#pragma unroll
      for (int q = 0; q < kTileSide / kLoaded; ++q)
        store_quad(in + (quad_row + q * kLoaded) * kTileRow + quad_column, ahead[q]);
    if (more && (!here || (next.i == 0 && next.j == 0 && (next.image - first_image) % kDraws == 0))) draw(next.image);
    __syncthreads();  // and whoever passes it has read the words and draws of the tile before
    if (more) load_tile(next);
    if (here) {
      const DrawnAugment& d = draw_of(at.image);
      float stain[3][4] = {};
      if constexpr (stained)
        for (int c = 0; c < 3; ++c)
          for (int k = 0; k < 4; ++k) stain[c][k] = d.stain[c][k];
      T* const image = y + static_cast<std::int64_t>(at.image) * image_bytes;
#pragma unroll
      for (int row = run_row; row < run_row + kTileSide; row += kRunRows) {
        const unsigned* const run = in + d.first + row * d.down + run_column * d.right;
        float e[3 * kTileRun];
#pragma unroll
        for (int k = 0; k < kTileRun; ++k) embed_pixel<T, stained>(run[k * d.right], stain, g.normal, e + 3 * k);

        // The lanes of a row exchange what they have, so that they store side by side.
        Pack<T>* const packs = turned_packs + run_row * kPacks;
#pragma unroll
        for (int q = 0; q < kLanePacks; ++q) packs[lane_in_row * kLanePacks + q] = pack_of<T>(e + q * Pack<T>::n);
        __syncwarp();
        if (at.whole(g)) {
          T* const to = image + ((at.i + row) * g.width + at.j) * 3;
#pragma unroll
          for (int q = 0; q < kLanePacks; ++q) {
            const int k = q * kLanes + lane_in_row;
            store_pack(to + k * Pack<T>::n, packs[k]);
          }
        } else if (at.i + row < g.height) {
          const int columns = g.width - at.j;
          for (int k = lane_in_row; k < 3 * kTileSide && k < 3 * columns; k += kLanes)
            image[((at.i + row) * g.width + at.j) * 3 + k] = reinterpret_cast<const T*>(packs)[k];
        }
        __syncwarp();
      }
    }
    at = next;
    next.step(g);
  }
}

}  // namespace spn::kernels::cuda
