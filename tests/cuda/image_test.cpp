// Image embedding: turns, stain changes, sizes beside the tile's, packs and single bytes, against the CPU.
#include <string>
#include <vector>

#include "kernels/cuda/context.h"
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

class CudaImage : public test::Twin {
 protected:
  static Tensor bytes(const Shape& shape) {
    std::vector<std::uint8_t> v(static_cast<std::size_t>(shape.numel()));
    std::uint32_t state = 12345;
    for (std::uint8_t& b : v) {
      state = state * 1664525U + 1013904223U;
      b = static_cast<std::uint8_t>(state >> 24);
    }
    return Tensor::from(v, shape);
  }
  // f32 arithmetic whatever the output is, stain changes through the device's exp and log: 6e-5, in f64 too.
  static std::int64_t terms(DType t) { return t == DType::f64 ? std::int64_t{1} << 52 : 1000; }

  void check_embed(const Tensor& x, DType dtype, const ImageAugment& augment) {
    const Shape out{x.dim(0), 3, x.dim(1), x.dim(2)};
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& t) {
          run<&Table::image_embed>({.x = at(x), .y = t[0], .augment = augment});
        },
        {{out, dtype, terms(dtype), true}});
  }
};

TEST_F(CudaImage, PlainImagesOfAnySize) {
  for (const DType dtype : test::kFloats)
    for (const Shape& shape : {Shape{2, 1, 1, 3}, Shape{3, 7, 33, 3}, Shape{2, 32, 32, 3}, Shape{1, 48, 80, 3},
                               Shape{1, 65, 31, 3}, Shape{5, 4, 4, 3}})
      check_embed(bytes(shape), dtype, {});
}

// All bytes in all channels, by the formula's own rounding; a size that is no multiple of a block or of a pack.
TEST_F(CudaImage, PlainImagesHaveTheBitsOfTheCpu) {
  std::vector<std::uint8_t> v;
  for (int k = 0; k < 3 * 25 * 41; ++k) v.push_back(static_cast<std::uint8_t>(k / 3));
  const Tensor x = Tensor::from(v, {1, 25, 41, 3});
  for (const DType dtype : test::kFloats) {
    const auto embedded = [&](Device device) {
      const Tensor y = Tensor::empty({1, 3, 25, 41}, dtype, device).channels_last();
      run<&Table::image_embed>({.x = x.to(device), .y = y, .augment = {}});
      return y.to(Device{});
    };
    EXPECT_TRUE(test::close(embedded(test::kGpu), embedded(Device{}), {0, 0})) << name_of(dtype);
  }
}

// A block (of 12 a multiprocessor, in f64 of 4) has more images than are drawn for at once, and draws for a third time.
TEST_F(CudaImage, ManyImagesABlock) {
  const std::int64_t sms = cuda::multiprocessors();
  check_embed(bytes({434 * sms, 2, 2, 3}), DType::bf16, {.dihedral = true, .stain_jitter = 0.1, .seed = 3, .step = 1});
  check_embed(bytes({150 * sms, 3, 3, 3}), DType::f64, {.dihedral = true, .stain_jitter = 0.1, .seed = 3, .step = 1});
}

// A whole tile is loaded and stored in packs, one over the edge in bytes. Rows of 36 pixels begin at 4 bytes in x, but
// in bf16 not at 16 in y: only there does the width alone keep whole tiles from packs.
TEST_F(CudaImage, WholeTilesAndTheirEdges) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t side : {64, 40, 36})
      check_embed(bytes({9, side, side, 3}), dtype, {.dihedral = true, .stain_jitter = 0.1, .seed = 5, .step = 2});
}

TEST_F(CudaImage, TurnsAndStainsOfEverySample) {
  for (const DType dtype : test::kFloats)
    for (const std::int64_t side : {1, 5, 32, 33, 48, 71})
      for (const double jitter : {0.0, 0.1}) {
        SCOPED_TRACE("side " + std::to_string(side) + ", jitter " + std::to_string(jitter));
        check_embed(bytes({side < 10 ? 70 : 11, side, side, 3}), dtype,
                    {.dihedral = true, .stain_jitter = jitter, .seed = 7, .step = 3, .first_sample = (1LL << 33) + 5});
      }
}

TEST_F(CudaImage, StainsOfImagesThatAreNotSquare) {
  check_embed(bytes({3, 20, 36, 3}), DType::f32, {.stain_jitter = 0.3, .seed = 1, .step = 2});
}

TEST_F(CudaImage, UnalignedAndEmpty) {
  const Tensor x = bytes({4, 3, 3, 3});
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& t) {
        run<&Table::image_embed>({.x = at(x).narrow(0, 1, 3), .y = t[0], .augment = {}});
      },
      {{{3, 3, 3, 3}, DType::f32, 1000, true}});
  const Tensor y = Tensor::empty({0, 3, 4, 4}, DType::f32, test::kGpu).channels_last();
  EXPECT_NO_THROW(run<&Table::image_embed>({.x = bytes({0, 4, 4, 3}).to(test::kGpu), .y = y, .augment = {}}));
}

// Whole tiles and a width for packs, but x or y begins off them: only here does that alone keep tiles from packs.
TEST_F(CudaImage, WholeTilesOffPacks) {
  constexpr std::int64_t side = 40, n = 2 * side * side * 3;
  const Tensor x = bytes({n + 1});
  const auto images = [](const Tensor& t, std::int64_t first) {
    return t.narrow(0, first, n).reshape({2, side, side, 3});
  };
  for (const DType dtype : test::kFloats)
    for (const double jitter : {0.0, 0.1})
      for (const std::int64_t off : {0, 1})  // of x in bytes; y is off by an element where x is not
        compare_all(
            [&](const auto& at, const std::vector<Tensor>& t) {
              t[0].fill(0);  // also what lies beside the images
              run<&Table::image_embed>({.x = images(at(x), off),
                                        .y = images(t[0], 1 - off).permute({0, 3, 1, 2}),
                                        .augment = {.dihedral = true, .stain_jitter = jitter, .seed = 5, .step = 2}});
            },
            {{{n + 1}, dtype, terms(dtype)}});
}

TEST_F(CudaImage, TheClockMovesTheDraw) {
  const Tensor x = bytes({6, 8, 8, 3}), clock = Tensor::from(std::vector<std::int64_t>{2, 40}, {2});
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& t) {
        const Tensor now = at(clock);
        run<&Table::image_embed>({.x = at(x),
                                  .y = t[0],
                                  .augment = {.dihedral = true,
                                              .stain_jitter = 0.1,
                                              .seed = 7,
                                              .step = 3,
                                              .first_sample = 5,
                                              .clock = reinterpret_cast<const BatchClock*>(now.data<std::int64_t>())}});
      },
      {{{6, 3, 8, 8}, DType::f32, 1000, true}});
}

TEST_F(CudaImage, RefusesToTurnWhatIsNotSquare) {
  const Tensor y = Tensor::empty({1, 3, 4, 8}, DType::f32, test::kGpu).channels_last();
  EXPECT_THROW(
      run<&Table::image_embed>({.x = bytes({1, 4, 8, 3}).to(test::kGpu), .y = y, .augment = {.dihedral = true}}),
      Error);
}

}  // namespace
}  // namespace spn::kernels
