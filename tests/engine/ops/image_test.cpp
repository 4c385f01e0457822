// Image input: exact normalisation, all eight turns pixel by pixel, stain jitter, and what the randomness depends on.
#include "engine/ops/image.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "kernels/math/augment.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using kernels::ImageAugment;

// Every pixel differs from every other.
Tensor pixels(std::int64_t b, std::int64_t s) {
  std::vector<std::uint8_t> v(static_cast<std::size_t>(b * s * s * 3));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<std::uint8_t>((i * 89 + i / 256 * 7) % 256);
  return Tensor::from(v, {b, s, s, 3});
}

TEST(ImageEmbed, AgreesWithPyTorch) {
  const Golden golden("image");
  const Tensor y = ops::image_embed(golden.tensor("normalise.x"), {});
  EXPECT_TRUE(y.is_channels_last());
  EXPECT_TRUE(close(y, golden.tensor("normalise.y"), tolerance(DType::f32, 4)));
}

TEST(ImageEmbed, WithoutAugmentationItIsExactlyTheFormula) {
  const float mean[3] = {0.485F, 0.456F, 0.406F}, dev[3] = {0.229F, 0.224F, 0.225F};
  const Tensor x = pixels(2, 9);
  const auto y = ops::image_embed(x, {}).to_vector<float>();
  const auto v = x.to_vector<std::uint8_t>();
  for (std::size_t b = 0; b < 2; ++b)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t p = 0; p < 81; ++p)
        ASSERT_EQ(y[(b * 3 + c) * 81 + p], (static_cast<float>(v[(b * 81 + p) * 3 + c]) / 255.0F - mean[c]) / dev[c]);
}

// The eight images of the square's group, made by composing one quarter turn and one flip.
std::vector<std::vector<float>> all_turns(const std::vector<float>& image, std::size_t s) {
  const auto quarter = [s](const std::vector<float>& in) {
    std::vector<float> out(in.size());
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t i = 0; i < s; ++i)
        for (std::size_t j = 0; j < s; ++j) out[(c * s + i) * s + j] = in[(c * s + j) * s + (s - 1 - i)];
    return out;
  };
  const auto flip = [s](const std::vector<float>& in) {
    std::vector<float> out(in.size());
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t i = 0; i < s; ++i)
        for (std::size_t j = 0; j < s; ++j) out[(c * s + i) * s + j] = in[(c * s + i) * s + (s - 1 - j)];
    return out;
  };
  std::vector<std::vector<float>> r = {image};
  for (int k = 0; k < 3; ++k) r.push_back(quarter(r.back()));
  for (int k = 0; k < 4; ++k) r.push_back(flip(r[static_cast<std::size_t>(k)]));
  return r;
}

TEST(ImageEmbed, TurnsAreTheEightOfTheSquare) {
  constexpr std::int64_t s = 5, n = 64;
  const Tensor one = pixels(1, s);
  std::vector<std::uint8_t> many;
  for (int k = 0; k < n; ++k) {
    const auto v = one.to_vector<std::uint8_t>();
    many.insert(many.end(), v.begin(), v.end());
  }
  const auto want = all_turns(ops::image_embed(one, {}).to_vector<float>(), s);
  const auto got =
      ops::image_embed(Tensor::from(many, {n, s, s, 3}), {.dihedral = true, .seed = 3, .step = 11}).to_vector<float>();
  std::array<int, 8> seen{};
  for (std::int64_t k = 0; k < n; ++k) {
    const std::vector<float> image(got.begin() + k * s * s * 3, got.begin() + (k + 1) * s * s * 3);
    // the drawn turn, as documented, is the one that was applied
    const int turn = kernels::draw_augment({.dihedral = true, .seed = 3, .step = 11}, k).turn;
    ASSERT_EQ(image, want[static_cast<std::size_t>(turn)]) << "sample " << k << " turn " << turn;
    ++seen[static_cast<std::size_t>(turn)];
  }
  for (int count : seen) EXPECT_GT(count, 0);
}

TEST(ImageEmbed, TurnsAreDrawnEvenly) {
  std::array<int, 8> seen{};
  for (std::int64_t k = 0; k < 8000; ++k)
    ++seen[static_cast<std::size_t>(kernels::draw_augment({.dihedral = true, .seed = 1}, k).turn)];
  for (int count : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(ImageEmbed, RanksSplitTheBatchWithoutEffect) {
  const ImageAugment o{.dihedral = true, .stain_jitter = 0.05, .seed = 5, .step = 2, .first_sample = 96};
  const Tensor x = pixels(8, 6);
  const Tensor whole = ops::image_embed(x, o);
  for (std::int64_t r = 0; r < 4; ++r) {
    ImageAugment mine = o;
    mine.first_sample += 2 * r;
    EXPECT_TRUE(close(ops::image_embed(x.narrow(0, 2 * r, 2), mine), whole.narrow(0, 2 * r, 2), {0, 0})) << r;
  }
}

TEST(ImageEmbed, StepSeedAndSampleChangeTheDraw) {
  const ImageAugment o{.dihedral = true, .stain_jitter = 0.05, .seed = 5, .step = 2, .first_sample = 0};
  const auto mix = [](ImageAugment a) { return kernels::draw_augment(a, 0).mix[0][0]; };
  ImageAugment step = o, seed = o, sample = o, late = o;
  step.step = 3;
  seed.seed = 6;
  sample.first_sample = 1;
  late.step = o.step + (std::int64_t{1} << 32);
  const std::set<float> draws = {mix(o), mix(step), mix(seed), mix(sample), mix(late)};
  EXPECT_EQ(draws.size(), 5U);
  EXPECT_EQ(mix(o), mix(o));
}

// Spot and niche image of a pair differ in size: a constant colour comes out equal from both.
TEST(ImageEmbed, BothImagesOfAPairChangeAlike) {
  const ImageAugment o{.dihedral = true, .stain_jitter = 0.08, .seed = 5, .step = 2, .first_sample = 7};
  const auto coloured = [](std::int64_t s) {
    std::vector<std::uint8_t> v;
    for (std::int64_t i = 0; i < s * s; ++i) v.insert(v.end(), {180, 110, 160});
    return Tensor::from(v, {1, s, s, 3});
  };
  const Tensor small = ops::image_embed(coloured(4), o), large = ops::image_embed(coloured(16), o);
  EXPECT_TRUE(close(small, large.narrow(2, 0, 4).narrow(3, 0, 4), {0, 0}));
  EXPECT_FALSE(close(small, ops::image_embed(coloured(4), {}), tolerance(DType::f32)));
}

// Amounts of haematoxylin and eosin, from an independent solve of od = h·H + e·E + r·(H × E).
std::array<double, 2> stains_of(const std::array<double, 3>& rgb01) {
  double m[3][4];
  double h[3] = {0.65, 0.70, 0.29}, e[3] = {0.07, 0.99, 0.11};
  const double nh = std::hypot(h[0], h[1], h[2]), ne = std::hypot(e[0], e[1], e[2]);
  for (int c = 0; c < 3; ++c) h[c] /= nh, e[c] /= ne;
  for (int c = 0; c < 3; ++c) {
    m[c][0] = h[c];
    m[c][1] = e[c];
    m[c][2] = h[(c + 1) % 3] * e[(c + 2) % 3] - h[(c + 2) % 3] * e[(c + 1) % 3];
    m[c][3] = -std::log((rgb01[static_cast<std::size_t>(c)] * 255 + 1) / 256);
  }
  for (int k = 0; k < 3; ++k)  // Gauss-Jordan
    for (int r = 0; r < 3; ++r) {
      if (r == k) continue;
      const double f = m[r][k] / m[k][k];
      for (int c = k; c < 4; ++c) m[r][c] -= f * m[k][c];
    }
  return {m[0][3] / m[0][0], m[1][3] / m[1][1]};
}

TEST(ImageEmbed, StainJitterMovesStainsMildlyAndStaysInRange) {
  constexpr double sigma = 0.05;
  const double mean[3] = {0.485, 0.456, 0.406}, dev[3] = {0.229, 0.224, 0.225};
  const std::vector<std::uint8_t> tissue = {150, 90, 160};
  std::vector<std::uint8_t> v;
  constexpr std::int64_t n = 400;
  for (int k = 0; k < n; ++k) v.insert(v.end(), tissue.begin(), tissue.end());
  const auto y =
      ops::image_embed(Tensor::from(v, {n, 1, 1, 3}), {.stain_jitter = sigma, .seed = 9}).to_vector<double>();
  const auto before = stains_of({150 / 255.0, 90 / 255.0, 160 / 255.0});
  std::array<double, 2> sum{}, squares{};
  for (std::size_t k = 0; k < n; ++k) {
    std::array<double, 3> rgb{};
    for (std::size_t c = 0; c < 3; ++c) rgb[c] = y[k * 3 + c] * dev[c] + mean[c];
    const auto after = stains_of(rgb);
    for (std::size_t s = 0; s < 2; ++s) {
      const double d = after[s] - before[s];
      // gain and offset, each at most two deviations
      EXPECT_LE(std::abs(d), 2 * sigma * (before[s] + 1) + 1e-4);
      sum[s] += d;
      squares[s] += d * d;
    }
  }
  for (std::size_t s = 0; s < 2; ++s) {
    const double want = sigma * std::sqrt(1 + before[s] * before[s]);  // of two independent normals
    EXPECT_NEAR(std::sqrt(squares[s] / n), want, 0.15 * want);
    EXPECT_NEAR(sum[s] / n, 0, 0.2 * want);
  }
}

TEST(ImageEmbed, JitterIsClippedToTheRangeOfImages) {
  const std::vector<std::uint8_t> v = {255, 255, 255, 0, 0, 0, 255, 0, 255, 0, 255, 0};
  std::vector<std::uint8_t> many;
  for (int k = 0; k < 100; ++k) many.insert(many.end(), v.begin(), v.end());
  const auto y =
      ops::image_embed(Tensor::from(many, {100, 2, 2, 3}), {.stain_jitter = 0.5, .seed = 2}).to_vector<float>();
  const float mean[3] = {0.485F, 0.456F, 0.406F}, dev[3] = {0.229F, 0.224F, 0.225F};
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t c = i / 4 % 3;
    ASSERT_TRUE(y[i] >= (0 - mean[c]) / dev[c] - 1e-5F && y[i] <= (1 - mean[c]) / dev[c] + 1e-5F) << y[i];
  }
}

TEST(ImageEmbed, OtherTypesEmptyAndErrors) {
  const Tensor x = pixels(3, 4), y = ops::image_embed(x, {});
  EXPECT_TRUE(close(ops::image_embed(x, {}, DType::f64), y, {0, 0}));
  EXPECT_TRUE(close(ops::image_embed(x, {}, DType::bf16), y.to(DType::bf16), {0, 0}));
  EXPECT_TRUE(close(ops::image_embed(strided_copy(x), {}), y, {0, 0}));
  EXPECT_EQ(ops::image_embed(Tensor::empty({0, 4, 4, 3}, DType::u8), {}).shape(), (Shape{0, 3, 4, 4}));
  EXPECT_THROW(ops::image_embed(random({1, 4, 4, 3}, 1), {}), Error);
  EXPECT_THROW(ops::image_embed(Tensor::empty({1, 4, 5, 3}, DType::u8), {.dihedral = true}), Error);
  EXPECT_THROW(ops::image_embed(x, {.stain_jitter = 2}), Error);
}

}  // namespace
}  // namespace spn::test
