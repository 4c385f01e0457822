// What augmentation does to one sample, drawn from (seed, step, global sample): nothing else enters, so both images of
// a pair, every rank count and every device agree.
//
// Stains: Beer and Lambert: optical density is linear in the amount of stain. Haematoxylin and eosin absorb R, G, B as
// measured by Ruifrok and Johnston (Anal. Quant. Cytol. Histol. 23, 2001, 291-299); the third axis, what neither
// explains, is orthogonal to both and left alone. The amount of each stain becomes amount · gain + offset.
#pragma once

#include <cmath>

#include "engine/core/philox.h"
#include "kernels/args/image.h"
#include "kernels/math/dropout.h"

namespace spn::kernels {

inline constexpr double kImageMean[3] = {0.485, 0.456, 0.406}, kImageStd[3] = {0.229, 0.224, 0.225};

// Optical density of a channel value v in 0…255: −ln((v + 1) / 256), and back: v = 256 · exp(−od) − 1.
SPN_HD inline float optical_density(int v) { return -std::log((static_cast<float>(v) + 1.0F) / 256.0F); }

struct SampleAugment {
  int turn = 0;  // 0…7: quarter turns (bits 0, 1), then a flip of columns (bit 2)
  bool stained = false;
  float mix[3][3] = {}, shift[3] = {};  // od' = mix · od + shift
};

// Where output pixel (i, j) of a side × side image comes from.
SPN_HD inline void turned(int turn, std::int64_t side, std::int64_t i, std::int64_t j, std::int64_t& row,
                          std::int64_t& column) {
  if ((turn & 4) != 0) j = side - 1 - j;
  switch (turn & 3) {
    case 0: row = i, column = j; break;
    case 1: row = j, column = side - 1 - i; break;  // anticlockwise, as numpy.rot90
    case 2: row = side - 1 - i, column = side - 1 - j; break;
    default: row = side - 1 - j, column = i; break;
  }
}

SPN_HD inline SampleAugment draw_augment(const ImageAugment& o, std::int64_t row) {
  SampleAugment a;
  const auto sample = static_cast<std::uint64_t>(sample_of(o, row)), step = static_cast<std::uint64_t>(step_of(o));
  const auto draw = [&](std::uint32_t block) {
    return philox(o.seed, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(sample),
                  static_cast<std::uint32_t>(sample >> 32) ^ static_cast<std::uint32_t>(step >> 32 << 16),
                  static_cast<std::uint32_t>(RandomUse::augment) | block << 8);
  };
  if (o.dihedral) a.turn = static_cast<int>(draw(0).v[0] & 7u);
  if (!(o.stain_jitter > 0)) return a;
  a.stained = true;
  // four normals (Box-Muller), cut at two deviations: mild for every sample, not on average only
  const Philox4 bits = draw(1);
  double normal[4];
  for (int k = 0; k < 4; k += 2) {
    const double u = 1.0 - static_cast<double>(uniform01(bits.v[k]));  // (0, 1]
    const double radius = std::sqrt(-2 * std::log(u));
    const double angle = 6.283185307179586 * static_cast<double>(uniform01(bits.v[k + 1]));
    normal[k] = radius * std::cos(angle);
    normal[k + 1] = radius * std::sin(angle);
  }
  for (double& z : normal) z = z > 2 ? 2 : z < -2 ? -2 : z;
  // rows of s: unit absorption of haematoxylin, eosin, rest
  double s[3][3] = {{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {}};
  const auto unit = [](double* v) {
    const double n = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int c = 0; c < 3; ++c) v[c] /= n;
  };
  const auto cross = [](const double* p, const double* q, double* to) {
    for (int c = 0; c < 3; ++c) to[c] = p[(c + 1) % 3] * q[(c + 2) % 3] - p[(c + 2) % 3] * q[(c + 1) % 3];
  };
  unit(s[0]);
  unit(s[1]);
  cross(s[0], s[1], s[2]);
  unit(s[2]);
  // amount of stain k = od · dual[k]
  double dual[3][3];
  for (int k = 0; k < 3; ++k) cross(s[(k + 1) % 3], s[(k + 2) % 3], dual[k]);
  const double volume = s[0][0] * dual[0][0] + s[0][1] * dual[0][1] + s[0][2] * dual[0][2];
  const double gain[3] = {1 + o.stain_jitter * normal[0], 1 + o.stain_jitter * normal[1], 1};
  const double offset[3] = {o.stain_jitter * normal[2], o.stain_jitter * normal[3], 0};
  for (int to = 0; to < 3; ++to) {
    double t = 0;
    for (int k = 0; k < 3; ++k) t += offset[k] * s[k][to];
    a.shift[to] = static_cast<float>(t);
    for (int from = 0; from < 3; ++from) {
      double m = 0;
      for (int k = 0; k < 3; ++k) m += gain[k] * s[k][to] * dual[k][from] / volume;
      a.mix[to][from] = static_cast<float>(m);
    }
  }
  return a;
}

}  // namespace spn::kernels
