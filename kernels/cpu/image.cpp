// uint8 images to normalised channels-last floats in one pass: turn, stain jitter, (v/255 − mean)/std.
#include <array>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"
#include "kernels/math/augment.h"
#include "kernels/math/fast.h"

namespace spn::kernels::cpu {
namespace {

using i64 = std::int64_t;

// All that depends on a byte alone.
struct Tables {
  float normalised[3][256], density[256];
  Tables() {
    for (int v = 0; v < 256; ++v) {
      for (int c = 0; c < 3; ++c)
        normalised[c][v] =
            (static_cast<float>(v) / 255.0F - static_cast<float>(kImageMean[c])) / static_cast<float>(kImageStd[c]);
      density[v] = optical_density(v);
    }
  }
};
const Tables& tables() {
  static const Tables t;
  return t;
}

// One row of densities (planes r, g, b of n values) to normalised values of channel c.
void restain(const SampleAugment& a, int c, i64 n, const float* od, float* out) {
  const float m0 = a.mix[c][0], m1 = a.mix[c][1], m2 = a.mix[c][2], shift = a.shift[c];
  const float scale = 1.0F / static_cast<float>(kImageStd[c]), mean = static_cast<float>(kImageMean[c]) * scale;
  const float *r = od, *g = od + n, *b = od + 2 * n;
#pragma omp simd
  for (i64 j = 0; j < n; ++j) {
    const float density = m0 * r[j] + m1 * g[j] + m2 * b[j] + shift;
    const float bounded = density < -1.0F ? -1.0F : density > 20.0F ? 20.0F : density;  // beyond: white, black
    float v = (256.0F * fast_exp(-bounded) - 1.0F) * (1.0F / 255.0F);
    v = v < 0.0F ? 0.0F : v > 1.0F ? 1.0F : v;
    out[j] = v * scale - mean;
  }
}

template <class T>
void embed(const ImageEmbed& o) {
  const i64 images = o.x.dim(0), height = o.x.dim(1), width = o.x.dim(2);
  const auto* x = o.x.ptr<std::uint8_t>();
  T* y = o.y.ptr<T>();
  const Tables& t = tables();
  parallel_for(images, height * width * 3, [&](i64 from, i64 to) {
    std::vector<float> row(static_cast<std::size_t>(6 * width));
    float *const od = row.data(), *const out = od + 3 * width;
    for (i64 n = from; n < to; ++n) {
      const SampleAugment a = draw_augment(o.augment, n);
      const std::uint8_t* image = x + n * height * width * 3;
      for (i64 i = 0; i < height; ++i) {
        T* to_row = y + (n * height + i) * width * 3;
        // where this row's pixels come from: a first one and a step
        i64 row0 = i, col0 = 0, row1 = i, col1 = 1;
        if (a.turn != 0) {
          turned(a.turn, width, i, 0, row0, col0);
          turned(a.turn, width, i, 1, row1, col1);
        }
        const std::uint8_t* p = image + (row0 * width + col0) * 3;
        const i64 step = ((row1 - row0) * width + (col1 - col0)) * 3;
        if (!a.stained) {
          for (i64 j = 0; j < width; ++j, p += step)
            for (int c = 0; c < 3; ++c) to_row[j * 3 + c] = convert<T>(t.normalised[c][p[c]]);
          continue;
        }
        for (i64 j = 0; j < width; ++j, p += step)
          for (int c = 0; c < 3; ++c) od[c * width + j] = t.density[p[c]];
        for (int c = 0; c < 3; ++c) restain(a, c, width, od, out + c * width);
        for (i64 j = 0; j < width; ++j)
          for (int c = 0; c < 3; ++c) to_row[j * 3 + c] = convert<T>(out[c * width + j]);
      }
    }
  });
}

}  // namespace

void image_embed(const ImageEmbed& o) {
  check(o.x.ndim() == 4 && o.x.dim(3) == 3 && o.x.is_contiguous() && o.y.is_channels_last() &&
            o.y.shape == Shape{o.x.dim(0), 3, o.x.dim(1), o.x.dim(2)},
        "image_embed", "expected contiguous u8 [B,S,S,3] to channels-last [B,3,S,S], got {} to {}", o.x.shape.str(),
        o.y.shape.str());
  check(!o.augment.dihedral || o.x.dim(1) == o.x.dim(2), "image_embed", "expected square images to turn, got {}",
        o.x.shape.str());
  visit_float(o.y.dtype, "image_embed", [&](auto e) { embed<decltype(e)>(o); });
}

}  // namespace spn::kernels::cpu
